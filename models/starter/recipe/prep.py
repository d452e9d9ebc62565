"""Turns rows of (task, text, question, answer) into padded id tensors: prompts, few-shot prompts and a mixture of denoisers.

The vocabulary is trained first, unless OUT has a tokenizer.json already.
"""

import argparse
import gzip
import json
import os
import random
import time
from collections import Counter

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from prompts import SHORT, WORDINGS, few_shot, prompt

VOCABULARY = 16000  # with the 100 sentinels
SOURCE = 512  # ids of a prompt at most
TARGET = 64  # ids of an answer at most
TAIL = 48  # ids kept from the end of a prompt that is too long: the question or the closing words
WIDTHS = (96, 192, 320, SOURCE)  # prompts are padded to the next of these
HELD_OUT = 3000
SCORED = 1500  # of the held-out rows, those that train.py reports on
FEW_SHOT = (("explain", 90000), ("summarize", 30000), ("answer", 15000))
FEW_SHOT_SCORED = 300
DENOISED = 120000
DENOISED_WIDTH = 320
COPIED = 60000
COPIED_WIDTH = 96
END = 1


def read_rows(documentation, extra):
    """All rows: those of data.py (JSON lines; their code is Python) and those of extra/ (the same, gzipped)."""
    rows = []
    with open(documentation) as lines:
        for line in lines:
            task, text, question, answer = json.loads(line)
            rows.append((task, text, question or ("Python" if task == "explain" else ""), answer))
    if extra:
        with gzip.open(extra, "rt") as lines:
            rows += [tuple(json.loads(line)) for line in lines]
    return rows


def train_tokenizer(rows, rng):
    """A Unigram tokenizer that folds white space as T5's does, but knows all of ASCII, braces too."""
    tokenizer = Tokenizer(models.Unigram())
    fold = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), fold, normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - 100,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
        initial_alphabet=[chr(code) for code in range(33, 127)],
    )
    sample = rng.sample(rows, min(70000, len(rows)))
    tokenizer.train_from_iterator((row[1][:900] + " " + row[3] for row in sample), trainer=trainer)
    sentinels = [AddedToken(f"<extra_id_{i}>", normalized=False) for i in range(99, -1, -1)]
    tokenizer.add_special_tokens(sentinels)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("</s>", tokenizer.token_to_id("</s>"))],
    )
    return tokenizer


def encode(tokenizer, texts):
    """Ids of each text, with the end token."""
    out = []
    for start in range(0, len(texts), 50000):
        batch = tokenizer.encode_batch(texts[start : start + 50000])
        out += [np.array(encoding.ids, np.int16) for encoding in batch]
    return out


def fit(ids):
    """Cuts the middle out of a prompt that is too long."""
    return ids if len(ids) <= SOURCE else np.concatenate([ids[: SOURCE - TAIL], ids[-TAIL:]])


def pad(sequences, width):
    """An int16 tensor [sequences, width]; what is too long is cut and ends with the end token."""
    out = np.zeros((len(sequences), width), np.int16)
    for i, ids in enumerate(sequences):
        if len(ids) > width:
            ids = np.append(ids[: width - 1], END)
        out[i, : len(ids)] = ids
    return torch.from_numpy(out)


def by_width(sources, targets):
    """Pairs of padded tensors, one pair for each of WIDTHS."""
    out = []
    shortest = 0
    for width in WIDTHS:
        chosen = [i for i in range(len(sources)) if shortest < len(sources[i]) <= width]
        shortest = width
        out.append((pad([sources[i] for i in chosen], width), pad([targets[i] for i in chosen], TARGET)))
    return out


def denoise(ids, sentinel, step, rng):
    """A source with holes and the target that fills them: one long end, or many short or a few longer spans.

    `sentinel` is the id of <extra_id_0>, `step` the distance to the id of the next one.
    """
    ids = list(ids[:-1][:300])
    length = len(ids)
    kind = rng.random()
    if kind < 0.25:
        cut = rng.randrange(length // 4, 3 * length // 4)
        return ids[:cut] + [sentinel, END], ([sentinel] + ids[cut:])[: TARGET - 1] + [END]
    mean, rate = (3, 0.15) if kind < 0.75 else (12, 0.3)
    count = max(1, min(int(length * rate / mean), 12))
    starts = sorted(rng.sample(range(0, max(count + 1, length - mean)), count))
    source, target = [], []
    position = 0
    for i, start in enumerate(starts):
        start = max(start, position)
        end = min(length, start + max(1, int(rng.expovariate(1 / mean)) + 1))
        source += ids[position:start] + [sentinel + step * i]
        target += [sentinel + step * i] + ids[start:end]
        position = end
    return (source + ids[position:] + [END])[:DENOISED_WIDTH], target[: TARGET - 1] + [END]


def copied_pieces(texts, rng):
    """Short pieces of texts, which the model learns to copy before anything else."""
    out = []
    for _ in range(COPIED):
        ids = rng.choice(texts)
        start = rng.randrange(0, max(1, len(ids) - 56))
        piece = ids[start : start + rng.randrange(8, 56)]
        out.append(np.append(piece[:60], END))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", help="JSON lines written by data.py")
    parser.add_argument("out", help="folder for tokenizer.json and prepared.pt")
    parser.add_argument("--extra", help="gzipped JSON lines written by extra/finish.py")
    options = parser.parse_args()
    begin = time.time()
    rng = random.Random(0)

    def say(*words):
        print(*words, f"{time.time() - begin:.0f}s", flush=True)

    rows = read_rows(options.rows, options.extra)
    rng.shuffle(rows)
    held, rows = rows[:HELD_OUT], rows[HELD_OUT:]
    languages = Counter(row[2] for row in rows if row[0] == "explain")
    say("rows", len(rows), Counter(row[0] for row in rows), languages.most_common(12))

    os.makedirs(options.out, exist_ok=True)
    file = f"{options.out}/tokenizer.json"
    if not os.path.exists(file):
        train_tokenizer(rows, rng).save(file)
    tokenizer = Tokenizer.from_file(file)
    say("vocabulary", tokenizer.get_vocab_size())

    texts = [prompt(row, rng.randrange(len(WORDINGS[row[0]]))) for row in rows]
    answers = [row[3] for row in rows]
    short = {task: [row for row in rows if row[0] == task and len(row[1]) < SHORT] for task in WORDINGS}
    for task, count in FEW_SHOT:
        if len(short[task]) > 50:
            for _ in range(count):
                text, answer = few_shot(task, short[task], rng)
                texts.append(text)
                answers.append(answer)
    say("prompts", len(texts))
    sources = [fit(ids) for ids in encode(tokenizer, texts)]
    supervised = by_width(sources, encode(tokenizer, answers))
    say("by width", [source.shape for source, _ in supervised])

    sample = rng.sample(rows, min(150000, len(rows)))
    raw = [ids for ids in encode(tokenizer, [row[1] for row in sample]) if len(ids) > 40]
    sentinel = tokenizer.token_to_id("<extra_id_0>")
    step = tokenizer.token_to_id("<extra_id_1>") - sentinel
    pairs = [denoise(rng.choice(raw), sentinel, step, rng) for _ in range(DENOISED)]
    denoising = [
        pad([np.array(pair[side], np.int16) for pair in pairs], width)
        for side, width in ((0, DENOISED_WIDTH), (1, TARGET))
    ]
    pieces = copied_pieces(raw, rng)
    scored = [few_shot("explain", short["explain"], rng) for _ in range(FEW_SHOT_SCORED)]
    torch.save(
        {
            "supervised": supervised,
            "denoising": tuple(denoising),
            "copying": (pad(pieces, COPIED_WIDTH), pad(pieces, TARGET)),
            "held": held[:SCORED],
            "held_sources": pad(
                [fit(ids) for ids in encode(tokenizer, [prompt(row) for row in held[:SCORED]])], SOURCE
            ),
            "few_shot": scored,
            "few_shot_sources": pad([fit(ids) for ids in encode(tokenizer, [text for text, _ in scored])], SOURCE),
        },
        f"{options.out}/prepared.pt",
    )
    say("prepared")


if __name__ == "__main__":
    main()
