"""Compares the recorded reference values with a second implementation (t5.py: numpy, float64). Exits 1 on a difference.

Greedy ids and beams are checked by feeding them: each greedy id must be the argmax after the ids before it, and the
score of a beam must be the mean of its log-probabilities.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from files import crop, digest, read_checkpoint, read_int8, read_safetensors, through_int8
from t5 import T5

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "test/fixtures/reference"
TOLERANCE = 2e-4  # float32 against float64, relative to the largest value of a comparison


class Differences:
    """The worst relative difference of each kind of comparison."""

    def __init__(self):
        self.worst = {}

    def compare(self, kind, where, recorded, computed):
        recorded, computed = np.asarray(recorded, np.float64), np.asarray(computed, np.float64)
        if recorded.shape != computed.shape:
            raise ValueError(f"{where}: {kind} has shape {recorded.shape}, not {computed.shape}")
        if recorded.size == 0:
            return
        difference = np.abs(recorded - computed).max() / max(1.0, np.abs(computed).max())
        count, worst, at = self.worst.get(kind, (0, -1.0, ""))
        self.worst[kind] = (count + 1, *max((worst, at), (float(difference), where)))

    def report(self, title):
        """Prints a line a kind; true if all are within the tolerance."""
        print(title)
        for kind, (count, worst, at) in self.worst.items():
            print(f"  {kind:22} {count:5} compared, worst {worst:.1e} ({at})")
        return all(worst <= TOLERANCE for _, worst, _ in self.worst.values())


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def fed(model, memory, ids):
    """Logits and log-probabilities [n, vocab] of the steps that produced `ids`."""
    logits = model.logits(memory, [0, *ids[:-1]])
    return logits, log_softmax(logits)


def check_greedy(differences, kind, where, model, memory, entry):
    logits, _ = fed(model, memory, entry["ids"])
    best = np.sort(logits, -1)[:, -2:]
    chosen = logits[np.arange(len(logits)), entry["ids"]]
    differences.compare(f"{kind} logit is best", where, chosen, best[:, 1])
    differences.compare(f"{kind} gaps", where, entry["gaps"], best[:, 1] - best[:, 0])


def check_beams(differences, where, model, memory, entries):
    for entry in entries:
        ids = entry["ids"]
        _, logprobs = fed(model, memory, ids)
        differences.compare("beam scores", where, entry["score"], logprobs[np.arange(len(ids)), ids].mean())


def check_small():
    recorded = json.loads((REFERENCE / "small.json").read_text())["models"]
    tensors = read_safetensors(REFERENCE / "small.safetensors")
    fine = True
    for name, entry in recorded.items():
        config, weights = read_checkpoint(ROOT / "test/fixtures/checkpoints" / name)
        for form in ("fp32", "int8"):
            differences = Differences()
            model = T5(config, through_int8(weights) if form == "int8" else weights)
            for case in entry["cases"]:
                where = f"{name}/{case['name']}/{form}"
                memory = model.encode(case["promptIds"])
                logits, logprobs = fed(model, memory, case["targets"])
                result = case[form]
                differences.compare("hidden", where, tensors[f"{where}/hidden"], memory)
                differences.compare("logits", where, tensors[f"{where}/logits"], logits)
                chosen = logprobs[np.arange(len(logprobs)), case["targets"]]
                differences.compare("logprobs", where, result["logprobs"], chosen)
                check_greedy(differences, "greedy", where, model, memory, result["greedy"])
                check_beams(differences, where, model, memory, result["beams"])
            fine = differences.report(f"{name} {form}") and fine
    return fine


def check_starter(folder, original):
    recorded = json.loads((REFERENCE / "starter.json").read_text())
    tensors = read_safetensors(REFERENCE / "starter.safetensors")
    file = folder / "model.int8.safetensors"
    if digest(read_safetensors(file)) != recorded["weights"]["tensors"]:
        raise ValueError(f"{file} does not hold the weights that the values were recorded with")
    config = json.loads((folder / "config.json").read_text())
    model = T5(config, crop(read_int8(file), config))
    wide = T5(*read_checkpoint(original)) if original else None
    differences = Differences()
    for entry in recorded["prompts"]:
        where, ids = entry["id"], entry["promptIds"]
        memory = model.encode(ids)
        differences.compare("hidden.first", where, tensors[f"{where}/hidden.first"], memory[0])
        differences.compare("hidden.last", where, tensors[f"{where}/hidden.last"], memory[-1])
        differences.compare("hidden.norms", where, tensors[f"{where}/hidden.norms"], np.linalg.norm(memory, axis=1))
        first = model.logits(memory, [0])[0]
        differences.compare("top", where, [logit for _, logit in entry["top"]], np.sort(first)[::-1][:8])
        if f"{where}/logits" in tensors:
            differences.compare("logits", where, tensors[f"{where}/logits"], first)
        check_greedy(differences, "greedy", where, model, memory, entry["greedy"])
        check_beams(differences, where, model, memory, entry.get("beams", []))
        if "score" in entry:
            targets = entry["score"]["ids"]
            chosen = fed(model, memory, targets)[1][np.arange(len(targets)), targets]
            differences.compare("answer logprobs", where, entry["score"]["logprobs"], chosen)
        if wide and "original" in entry:
            check_greedy(differences, "original", where, wide, wide.encode(ids), entry["original"])
    return differences.report("starter")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starter", type=Path, help="folder of the original float16 starter")
    parser.add_argument("--int8", type=Path, default=ROOT / "models/starter", help="folder of the int8 starter")
    parser.add_argument("--part", choices=("all", "small", "starter"), default="all")
    options = parser.parse_args()
    fine = options.part == "starter" or check_small()
    fine = (options.part == "small" or check_starter(options.int8, options.starter)) and fine
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
