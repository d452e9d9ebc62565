"""Makes small repositories in the forms of the family, and records what they answer, from text to text.

Each has random weights, the tokenizer files of test/fixtures/tokenizers, and the files of its model on the hub: `mt5` one
safetensors file, `codet5` one PyTorch file, `ul2` two of them with an index. Values are computed by t5.py (numpy, float64) with
the weights of the int8 file, dequantized; ids of prompts by sentencepiece and tokenizers. Needs these three, and numpy.
"""

import io
import json
import pickle
import shutil
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import checkpoints
from files import through_int8, to_bfloat16, write_safetensors
from t5 import T5

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "test/fixtures"
STEPS = 24
PROSE = "The tide rises twice a day. Ships wait for it in the harbour, and leave when the water is high."
CODE = "def clamp(value, low, high):\n    if value < low:\n        return low\n    return {high}[0] if value > high else value\n"

COMMON = {**checkpoints.COMMON, "initializer_factor": 1.0}
FORMS = {
    "mt5": (31, "float32", {
        "architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5", "vocab_size": 1024, "d_model": 32, "d_kv": 16,
        "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 3, "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }),
    "codet5": (32, "float16", {
        "vocab_size": 1010, "d_model": 40, "d_kv": 8, "d_ff": 88, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
        "feed_forward_proj": "relu", "bos_token_id": 1, "eos_token_id": 2,
    }),
    "ul2": (33, "bfloat16", {
        "vocab_size": 1128, "d_model": 32, "d_kv": 32, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
        "feed_forward_proj": "gated-silu",
    }),
}  # fmt: skip


# What unpickling a state dict of PyTorch calls, as names alone: nothing here computes with them.
class _Names:
    @staticmethod
    def make(module, name):
        for part in (module.split(".")[0], module):
            sys.modules.setdefault(part, types.ModuleType(part))
        made = type(name, (), {"__module__": module}) if name[0].isupper() else lambda *_: None
        made.__module__, made.__name__, made.__qualname__ = module, name, name
        setattr(sys.modules[module], name, made)
        return made


REBUILD = _Names.make("torch._utils", "_rebuild_tensor_v2")
STORAGES = {"f4": _Names.make("torch", "FloatStorage"), "f2": _Names.make("torch", "HalfStorage"), "u2": _Names.make("torch", "BFloat16Storage")}
ORDERED = __import__("collections").OrderedDict


class _Tensor:
    def __init__(self, key, array):
        self.key, self.array = key, array

    def __reduce__(self):
        strides, step = [], 1
        for n in reversed(self.array.shape):
            strides.insert(0, step)
            step *= n
        return REBUILD, (_Storage(self.key, self.array), 0, tuple(self.array.shape), tuple(strides), False, ORDERED())


class _Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class _Pickler(pickle.Pickler):
    def persistent_id(self, item):
        if not isinstance(item, _Storage):
            return None
        return "storage", STORAGES[item.array.dtype.str[1:]], item.key, "cpu", item.array.size


def write_torch(path, tensors):
    """A file as torch.save writes it: a zip of one pickle and one file for each storage, nothing compressed."""
    pickled = io.BytesIO()
    _Pickler(pickled, 2).dump({name: _Tensor(str(i), array) for i, (name, array) in enumerate(tensors.items())})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        entry = lambda name: zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        file.writestr(entry("archive/data.pkl"), pickled.getvalue())
        for i, array in enumerate(tensors.values()):
            file.writestr(entry(f"archive/data/{i}"), np.ascontiguousarray(array).tobytes())
        file.writestr(entry("archive/version"), "3\n")


def write_weights(name, folder, tensors):
    if name == "mt5":
        write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
    elif name == "codet5":
        write_torch(folder / "pytorch_model.bin", tensors)
    else:
        names = list(tensors)
        half = len(names) // 2
        where = {}
        for i, part in enumerate((names[:half], names[half:])):
            file = f"pytorch_model-{i + 1:05d}-of-00002.bin"
            write_torch(folder / file, {tensor: tensors[tensor] for tensor in part})
            where.update({tensor: file for tensor in part})
        index = {"metadata": {"total_size": sum(a.nbytes for a in tensors.values())}, "weight_map": where}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def prompts(name):
    """Tasks with the ids of the whole prompt, each made by the tokenizer's own library, and how ids are read."""
    folder = FIXTURES / "tokenizers" / ("t5" if name == "ul2" else name)
    if name == "codet5":
        vocab = json.loads((folder / "vocab.json").read_text())
        merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = {vocab[token] for token in vocab if token[0] == "<" and token[-1] == ">" and len(token) > 2}
        decode = lambda ids: tokenizer.decode([i for i in ids if i not in special])
        return [("explain", CODE, None, [1, *tokenizer.encode(CODE).ids, 2])], decode
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    if name == "mt5":
        words = f"Summarize:\n\n{PROSE}\n\nSummary:"
        return [("summarize", PROSE, None, [*processor.encode(words), 1])], None
    gap = processor.vocab_size() + 99
    question = "When do the ships leave?"
    return [
        ("summarize", PROSE, None, [*processor.encode(f"[NLG] {PROSE}\n\nSummary: "), gap, 1]),
        ("ask", PROSE, question, [*processor.encode(f"[NLU] {PROSE}\n\nQuestion: {question}\n\nAnswer: "), gap, 1]),
    ], None


def record(name):
    seed, dtype, own = FORMS[name]
    checkpoints.CHECKPOINTS[name] = (seed, dtype, 1, own)
    config = {**checkpoints.config_of(name)}
    weights = checkpoints.random_weights(name)
    cast = {"float32": lambda a: a, "float16": lambda a: a.astype(np.float16), "bfloat16": to_bfloat16}[dtype]
    stored = {tensor: cast(array) for tensor, array in sorted(weights.items())}
    folder = FIXTURES / "family" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_weights(name, folder, stored)
    widen = {"float32": lambda a: a, "float16": lambda a: a.astype(np.float32), "bfloat16": lambda a: (a.astype(np.uint32) << 16).view(np.float32)}[dtype]
    model = T5(config, through_int8({tensor: widen(array) for tensor, array in stored.items()}))
    tasks, decode = prompts(name)
    cases = []
    for task, text, question, ids in tasks:
        memory = model.encode(ids)
        new, gaps = [], []
        while len(new) < STEPS:
            last = model.logits(memory, [0, *new])[-1]
            best = np.sort(last)[-2:]
            new.append(int(last.argmax()))
            gaps.append(float(f"{best[1] - best[0]:.6g}"))
            if new[-1] == config["eos_token_id"]:
                break
        first = model.logits(memory, [0])[-1]
        top = [[int(i), float(f"{first[i]:.9g}")] for i in np.argsort(-first)[:8]]
        case = {"task": task, "text": text, "promptIds": ids, "top": top, "greedy": {"ids": new, "gaps": gaps}}
        if question:
            case["question"] = question
        if decode:
            case["answer"] = decode(new)
        cases.append(case)
    return cases


def main():
    recorded = {name: record(name) for name in FORMS}
    body = ",\n".join(f'"{name}":{json.dumps(cases, separators=(",", ":"))}' for name, cases in recorded.items())
    (FIXTURES / "family" / "recorded.json").write_text(f"{{{body}}}\n")


if __name__ == "__main__":
    main()
