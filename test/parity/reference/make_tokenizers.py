"""Trains three small tokenizers and records what sentencepiece and tokenizers make of hard texts with them.

`t5`: a SentencePiece unigram model as T5's, with its table of normalizations. `mt5`: one as mT5's, with byte fallback, user
defined sentinels and no table. `codet5`: byte-level BPE as CodeT5's, in vocab.json and merges.txt. Needs sentencepiece and
tokenizers; the training text is this repository's own code and prose.
"""

import base64
import io
import json
import random
import subprocess
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "test/fixtures/tokenizers"
PIECES = 1000
HARD = [
    "", " ", "\n", "a", " a ", "The quick brown fox.", "  two  spaces  ", "tab\tand\nnew line\r\n", "if (x < 3) { return y[2]; }",
    "naïve café Ångström", "nai\u0308ve cafe\u0301", "ﬁne ﬂow ½ ² ™ №", "ｆｕｌｌ　ｗｉｄｔｈ", "日本語のテキスト", "한국어 텍스트", "\u1112\u1161\u11ab",
    "🙂 👨‍👩‍👧 🏳️‍🌈", "\u200bzero\u200cwidth\u200djoiner\ufeff", "a\u00a0b\u2003c\u3000d", "\u0000\u0001\u001f\u007f\u009f", "“quoted” ‘single’ – — …",
    "x ≤ y ≠ z → w", "e\u0301\u0301\u0301", "\u0344\u0958\u2126\ufb1d", "▁already▁escaped", "<pad> </s> <unk> <extra_id_0>", "<0x41>", "~～ ∼",
    "\ud7ff\ue000\uffff\U0010ffff", "a" * 50, "ab" * 30, "{}[]()<>\\^~`|@#$%&*_=+", "https://example.org/a?b=c&d=%20#e", "١٢٣ १२३ ①②③",
]  # fmt: skip


def training_text():
    names = subprocess.check_output(["git", "ls-files", "*.ts", "*.md", "*.py"], cwd=ROOT, text=True).split()
    lines = [line for name in names[:150] for line in (ROOT / name).read_text().splitlines() if line.strip()]
    return [*lines[:6000], "naïve café", "日本語のテキスト", "Ångström ½"]


def texts(lines):
    """The hard ones, lines of code and prose, and random characters of many blocks."""
    dice = random.Random(20)
    blocks = [(32, 126), (9, 13), (160, 255), (0x300, 0x36F), (0x370, 0x5FF), (0x1100, 0x11FF), (0x2000, 0x206F), (0x2070, 0x218F),
              (0x2190, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFEF), (0x1F600, 0x1F64F)]  # fmt: skip
    found = [*HARD, *dice.sample(lines, 60)]
    for _ in range(150):
        chars = []
        for _ in range(dice.randint(1, 24)):
            low, high = dice.choice(blocks) if dice.random() < 0.6 else blocks[0]
            chars.append(chr(dice.randint(low, high)))
        found.append("".join(chars))
    found.append("\n".join(dice.sample(lines, 40)))
    return found


def train_pieces(lines, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=PIECES, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, num_threads=1, hard_vocab_limit=False, **options,
    )  # fmt: skip
    return model.getvalue()


def record_pieces(name, model, cases, config):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    rows = []
    for text in cases:
        ids = processor.encode(text)
        rows.append({"text": text, "ids": ids, "decoded": processor.decode(ids)})
    return rows


def fast(model):
    """The same pieces as a tokenizer.json of T5's older form."""
    read = proto.ModelProto.FromString(model)
    vocab = [(piece.piece, piece.score) for piece in read.pieces]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(read.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer


def train_bytes(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def record_bytes(lines, cases):
    """CodeT5's files: sentinels stand in vocab.json, from the last down; added_tokens.json is empty."""
    tokenizer = train_bytes(lines)
    folder = OUT / "codet5"
    folder.mkdir(parents=True, exist_ok=True)
    trained = json.loads(tokenizer.to_str())["model"]
    vocab = dict(trained["vocab"])
    sentinels = [f"<extra_id_{n}>" for n in reversed(range(10))]
    for sentinel in sentinels:
        vocab[sentinel] = len(vocab)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in trained["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, indent=0) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "added_tokens.json").write_text("{}\n")
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "__type": "AddedToken"}
    mapped = {
        "bos_token": {"content": "<s>", **flags}, "eos_token": {"content": "</s>", **flags}, "unk_token": {"content": "<unk>", **flags},
        "sep_token": {"content": "</s>", **flags}, "pad_token": {"content": "<pad>", **flags}, "cls_token": {"content": "<s>", **flags},
        "mask_token": {"content": "<mask>", **flags, "lstrip": True},
        "additional_special_tokens": [{"content": sentinel, **flags} for sentinel in sentinels],
    }  # fmt: skip
    (folder / "special_tokens_map.json").write_text(json.dumps(mapped) + "\n")
    config = {"add_prefix_space": False, "model_max_length": 512, "tokenizer_class": "RobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")

    whole = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    whole.post_processor = processors.RobertaProcessing(("</s>", vocab["</s>"]), ("<s>", vocab["<s>"]), add_prefix_space=False)
    whole.add_special_tokens([AddedToken(token, normalized=False, lstrip=token == "<mask>") for token in
                              ["<s>", "</s>", "<unk>", "<pad>", "<mask>", *sentinels]])  # fmt: skip
    rows = []
    for text in cases:
        ids = whole.encode(text).ids
        rows.append({"text": text, "ids": ids, "decoded": whole.decode(ids, skip_special_tokens=True)})
    return rows


def main():
    lines = training_text()
    cases = texts(lines)
    table = train_pieces(lines, normalization_rule_name="nmt_nfkc", character_coverage=0.995)
    sentinels = ",".join(f"▁<extra_id_{n}>" for n in reversed(range(10)))
    plain = train_pieces(
        lines, normalization_rule_name="identity", byte_fallback=True, user_defined_symbols=sentinels, character_coverage=0.99
    )
    quick = fast(table)
    recorded = {
        "t5": record_pieces("t5", table, cases, {"extra_ids": 100, "tokenizer_class": "T5Tokenizer"}),
        "mt5": record_pieces("mt5", plain, cases, {"extra_ids": 0, "tokenizer_class": "T5Tokenizer"}),
        "codet5": record_bytes(lines, cases),
        "fast": [{"text": text, "ids": quick.encode(text).ids} for text in cases],
    }
    dump = lambda row: json.dumps(row, separators=(",", ":"))
    body = ",\n".join(f'"{name}":[\n' + ",\n".join(map(dump, rows)) + "\n]" for name, rows in recorded.items())
    (OUT / "recorded.json").write_text(f"{{{body}}}\n")
    print({name: len(rows) for name, rows in recorded.items()}, len(base64.b64encode(table)))


if __name__ == "__main__":
    main()
