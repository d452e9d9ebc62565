"""Records what the exact gelu gives, with t5.py (numpy, float64): no checkpoint of transformers was made for it.

The weights are those of two small checkpoints; only the activation is another one. Writes test/fixtures/reference/gelu.json:
{NAME: {"config": fields that are changed, "promptIds", "targets", "hidden": rows, "logits": rows, "approximate": how far the
largest logit moves with the approximation by tanh, relative to the largest logit}}.
"""

import json
from pathlib import Path

import numpy as np

from files import read_checkpoint
from t5 import T5

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "test/fixtures"
FORMS = {
    "relu-tied": {"feed_forward_proj": "gelu"},
    "gelu-untied": {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu", "is_gated_act": True},
}


def rounded(rows):
    return [[float(f"{value:.9g}") for value in row] for row in rows]


def main():
    cases = json.loads((FIXTURES / "reference/small.json").read_text())["models"]
    result = {}
    for name, changes in FORMS.items():
        config, weights = read_checkpoint(FIXTURES / "checkpoints" / name)
        # What the file says of the activation by other names would win.
        config = {field: value for field, value in config.items() if field not in ("dense_act_fn", "is_gated_act")}
        case = next(case for case in cases[name]["cases"] if case["name"] == "len5")

        def run(changed):
            model = T5({**config, **changed}, weights)
            hidden = model.encode(case["promptIds"])
            return hidden, model.logits(hidden, [0, *case["targets"][:-1]])

        hidden, logits = run(changes)
        _, approximate = run({**changes, "dense_act_fn": "gelu_new"})
        result[name] = {
            "config": changes,
            "promptIds": case["promptIds"],
            "targets": case["targets"],
            "hidden": rounded(hidden),
            "logits": rounded(logits),
            "approximate": float(np.abs(logits - approximate).max() / np.abs(logits).max()),
        }
    (FIXTURES / "reference/gelu.json").write_text(json.dumps(result) + "\n")
    for name, entry in result.items():
        print(f"{name}: the approximation moves a logit by {entry['approximate']:.1e}")


if __name__ == "__main__":
    main()
