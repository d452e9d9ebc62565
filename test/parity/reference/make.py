"""Records reference values of the small checkpoints and of the starter model. README.md says what and where.

Everything is computed by transformers in float32 on the CPU, one prompt at a time, without padding.
"""

import argparse
import json
import multiprocessing
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from checkpoints import CHECKPOINTS, prompt_ids, write_checkpoint
from files import crop, dequantize, digest, is_matrix, quantize, write_safetensors

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "test/fixtures"
LENGTHS = (1, 5, 33, 127, 200)
TARGETS = 8
SMALL_STEPS = 24
STARTER_STEPS = 64
BEAMS = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 1.0, "early_stopping": False}
FULL_LOGITS = ("py-clamp", "sum-tide", "qa-locks-who", "fs-lang", "odd-unicode", "long-report-qa")
BEAMS_EVERY = 5  # every fifth prompt, up to this many source tokens:
BEAMS_LONGEST = 512


def numbers(values):
    """Floats with the nine digits that bring a float32 back."""
    return [float(f"{value:.9g}") for value in values]


def until_end(ids):
    """Cuts a padded sequence after its end token, if it has one."""
    return ids[: ids.index(1) + 1] if 1 in ids else ids


def generate(model, memory, **options):
    """New ids of greedy or beam search over an encoder output, with what `generate` returns besides."""
    return model.generate(
        encoder_outputs=transformers.modeling_outputs.BaseModelOutput(memory),
        attention_mask=torch.ones(1, memory.shape[1], dtype=torch.long),
        do_sample=False,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        return_dict_in_generate=True,
        **options,
    )


def greedy(model, memory, steps):
    """Ids, gaps between the two best logits, and the logits of the first step."""
    out = generate(model, memory, num_beams=1, max_new_tokens=steps, output_logits=True)
    ids = until_end(out.sequences[0, 1:].tolist())
    best = torch.stack([logits[0].topk(2).values for logits in out.logits[: len(ids)]])
    return {"ids": ids, "gaps": numbers((best[:, 0] - best[:, 1]).tolist())}, out.logits[0][0]


def beams(model, memory, steps):
    """The four hypotheses of beam search, best first."""
    out = generate(model, memory, max_new_tokens=steps, output_scores=True, **BEAMS)
    scores = numbers(out.sequences_scores.tolist())
    return [{"ids": until_end(row[1:].tolist()), "score": score} for row, score in zip(out.sequences, scores)]


def forced(model, memory, targets):
    """Logits at each position of the decoder input [0, ...targets without the last], and the targets' log-probabilities."""
    fed = torch.tensor([[0, *targets[:-1]]])
    outputs = transformers.modeling_outputs.BaseModelOutput(memory)
    logits = model(encoder_outputs=outputs, decoder_input_ids=fed).logits[0]
    chosen = logits.log_softmax(-1).gather(1, torch.tensor(targets)[:, None])[:, 0]
    return logits, numbers(chosen.tolist())


def load_small(folder):
    """A small checkpoint in float32. Two faults of UMT5 in transformers 5.17 are worked around, see README.md."""
    umt5 = json.loads((folder / "config.json").read_text())["model_type"] == "umt5"
    attention = {"attn_implementation": "eager"} if umt5 else {}
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32, **attention).eval()
    if umt5 and model.lm_head.weight is not model.shared.weight:
        model.config.tie_word_embeddings = False  # read by `forward` alone, to decide about the scale
    return model


def record_small(name, tensors):
    """The entry of one small checkpoint in small.json; adds its tensors to `tensors`."""
    folder = FIXTURES / "checkpoints" / name
    write_checkpoint(name, folder)
    model = load_small(folder)
    cases = []
    for length in LENGTHS:
        ids = prompt_ids(name, length, 100 + length)
        targets = prompt_ids(name, TARGETS, 200 + length)
        cases.append({"name": f"len{length}", "promptIds": ids, "targets": targets})
    for weights in ("fp32", "int8"):
        if weights == "int8":
            with torch.no_grad():
                for parameter_name, parameter in model.named_parameters():
                    if is_matrix(parameter_name):
                        values, scales = quantize(parameter.detach().numpy())
                        parameter.copy_(torch.from_numpy(dequantize(values, scales, parameter.shape[1])))
        for case in cases:
            memory = model.encoder(input_ids=torch.tensor([case["promptIds"]])).last_hidden_state
            logits, logprobs = forced(model, memory, case["targets"])
            tensors[f"{name}/{case['name']}/{weights}/hidden"] = memory[0].numpy()
            tensors[f"{name}/{case['name']}/{weights}/logits"] = logits.numpy()
            case[weights] = {
                "logprobs": logprobs,
                "greedy": greedy(model, memory, SMALL_STEPS)[0],
                "beams": beams(model, memory, SMALL_STEPS),
            }
    return {"cases": cases}


def int8_starter(folder):
    """The starter with the weights of its int8 file, dequantized."""
    stored = load_file(folder / "model.int8.safetensors")
    weights = {
        name: dequantize(array, stored[f"{name}.scales"], array.shape[1]) if array.dtype == np.uint8 else array
        for name, array in stored.items()
        if not name.endswith(".scales")
    }
    config = json.loads((folder / "config.json").read_text())
    state = {name: torch.from_numpy(array.copy()) for name, array in crop(weights, config).items()}
    model = T5ForConditionalGeneration(T5Config.from_pretrained(folder)).float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    model.tie_weights()
    tied = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    if unexpected or not set(missing) <= tied or model.lm_head.weight is not model.shared.weight:
        raise ValueError(f"the int8 file does not fit the model: missing {missing}, unexpected {unexpected}")
    return model.eval()


def load_worker(starter, original):
    """Loads the models of one worker process."""
    global MODEL, ORIGINAL, TOKENIZER
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    MODEL = int8_starter(starter)
    ORIGINAL = None
    if original:
        ORIGINAL = T5ForConditionalGeneration.from_pretrained(original, dtype=torch.float32).eval()
    TOKENIZER = tokenizers.Tokenizer.from_file(str(starter / "tokenizer.json"))


def record_prompt(prompt, with_beams):
    """The entry of one prompt in starter.json, and its tensors."""
    ids = TOKENIZER.encode(prompt["prompt"]).ids
    source = torch.tensor([ids])
    memory = MODEL.encoder(input_ids=source).last_hidden_state
    best, first = greedy(MODEL, memory, STARTER_STEPS)
    top = first.topk(8)
    best["text"] = TOKENIZER.decode(best["ids"], skip_special_tokens=True)
    best["finish"] = "stop" if best["ids"][-1] == 1 else "length"
    entry = {
        "id": prompt["id"],
        "promptIds": ids,
        "top": list(zip(top.indices.tolist(), numbers(top.values.tolist()))),
        "greedy": best,
    }
    if ORIGINAL:
        entry["original"] = greedy(ORIGINAL, ORIGINAL.encoder(input_ids=source).last_hidden_state, STARTER_STEPS)[0]
    if with_beams and len(ids) <= BEAMS_LONGEST:
        entry["beams"] = beams(MODEL, memory, STARTER_STEPS)
        for beam in entry["beams"]:
            beam["text"] = TOKENIZER.decode(beam["ids"], skip_special_tokens=True)
    if "answer" in prompt:
        targets = TOKENIZER.encode(prompt["answer"]).ids
        _, logprobs = forced(MODEL, memory, targets)
        total = numbers([sum(logprobs)])[0]
        entry["score"] = {"answer": prompt["answer"], "ids": targets, "logprobs": logprobs, "total": total}
    tensors = {
        f"{prompt['id']}/hidden.first": memory[0, 0].numpy(),
        f"{prompt['id']}/hidden.last": memory[0, -1].numpy(),
        f"{prompt['id']}/hidden.norms": memory[0].norm(dim=-1).numpy(),
    }
    if prompt["id"] in FULL_LOGITS:
        tensors[f"{prompt['id']}/logits"] = first.numpy()
    return entry, tensors


def record_starter(options):
    """The entries of all prompts, and their tensors, from a pool of processes."""
    prompts = json.loads((FIXTURES / "prompts.json").read_text())
    with_beams = [index % BEAMS_EVERY == 0 for index in range(len(prompts))]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.threads, context, load_worker, (options.int8, options.starter))
    with pool:
        results = list(pool.map(record_prompt, prompts, with_beams))
    tensors = {}
    for _, own in results:
        tensors.update(own)
    return [entry for entry, _ in results], tensors


def write_json(path, head, key, rows):
    """An object with one line for each entry of its last field, which is a list or a dictionary."""
    dump = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    named = isinstance(rows, dict)
    lines = [f"{dump(name)}:{dump(row)}" for name, row in rows.items()] if named else [dump(row) for row in rows]
    opening, closing = "{}" if named else "[]"
    text = dump(head)[:-1] + f",{dump(key)}:{opening}\n" + ",\n".join(lines) + f"\n{closing}}}\n"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starter", type=Path, help="folder of the original float16 starter")
    parser.add_argument("--int8", type=Path, default=ROOT / "models/starter", help="folder of the int8 starter")
    parser.add_argument("--part", choices=("all", "small", "starter"), default="all")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="worker processes for the starter")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("highest")
    made_with = {
        "device": "CPU, float32",
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers, np)},
    }
    reference = FIXTURES / "reference"
    reference.mkdir(parents=True, exist_ok=True)

    if options.part != "starter":
        tensors = {}
        models = {name: record_small(name, tensors) for name in CHECKPOINTS}
        write_safetensors(reference / "small.safetensors", tensors)
        write_json(reference / "small.json", {"made_with": made_with}, "models", models)
    if options.part != "small":
        entries, tensors = record_starter(options)
        write_safetensors(reference / "starter.safetensors", tensors)
        weights = {"tensors": digest(load_file(options.int8 / "model.int8.safetensors"))}
        write_json(reference / "starter.json", {"made_with": made_with, "weights": weights}, "prompts", entries)


if __name__ == "__main__":
    main()
