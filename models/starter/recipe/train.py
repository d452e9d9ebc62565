"""Trains the starter model on one GPU, in one or more sittings, and writes it as a Hugging Face checkpoint in float16.

A sitting ends at --until seconds; the learning rate falls over --total seconds of all sittings together, kept in --state.
"""

import argparse
import json
import math
import os
import random
import sys
import time

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional

from t5 import T5

CONFIG = {
    "vocab_size": 16000,
    "d_model": 384,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 6,
    "num_decoder_layers": 4,
    "num_heads": 6,
}
RATE = 1.2e-3
WARM_UP = 600  # steps
BATCHES = (512, 384, 256, 160, 256, 512)  # rows of a batch: the four widths of prompts, denoising, copying
DENOISING_SHARE = 0.25  # of the prompts' number
COPYING = 5  # index of the copying set
COPYING_STEPS = 1500  # copying is drawn only in the first steps: nine times of ten, then every other time
SHARD = 15_500_000  # bytes
SCORED_STEPS = 60  # ids of a held-out answer
DEVICE = "cuda"


def optimizer_of(model):
    """AdamW; only matrices decay, and among them neither embeddings nor relative biases."""
    decaying = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and "shared" not in name and "relative" not in name
    ]
    known = {id(parameter) for parameter in decaying}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": decaying, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.97), fused=True)


def rate_at(step, progress):
    """Learning rate: a linear warm-up, then half a cosine down to 2 %."""
    return RATE * min(1.0, (step + 1) / WARM_UP) * (0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02)


def train(model, optimizer, sets, state, until, total):
    """One sitting. `sets`: pairs of id tensors (sources, targets) in the order of BATCHES."""
    begin = last = time.time()
    sizes = [len(source) for source, _ in sets]
    shares = sizes[:4] + [DENOISING_SHARE * sum(sizes[:4]), 0]
    forward = torch.compile(lambda source, target: model(source, target), dynamic=False)
    losses = [[] for _ in sets]
    while time.time() - begin < until:
        elapsed = time.time() - begin
        rate = rate_at(state["step"], min(1.0, (state["seen"] + elapsed) / total))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if state["step"] < COPYING_STEPS and random.random() < (0.9 if state["step"] < 1000 else 0.5):
            chosen = COPYING
        else:
            chosen = random.choices(range(len(sets)), shares)[0]
        sources, targets = sets[chosen]
        rows = torch.randint(0, len(sources), (BATCHES[chosen],), device=DEVICE)
        source, target = sources[rows].long(), targets[rows].long()
        fed = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = forward(source, fed)
        wanted = target.masked_fill(target == 0, -100).view(-1)
        loss = functional.cross_entropy(logits.float().view(len(wanted), -1), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state["step"] += 1
        losses[chosen].append(loss.detach())
        if time.time() - last > 40:
            last = time.time()
            means = [f"{torch.stack(own[-50:]).mean():.3f}" if own else "-" for own in losses]
            print(f"{elapsed:.0f}s step {state['step']} rate {rate:.2e} loss", *means, flush=True)
            if "nan" in means:
                sys.exit("the loss is not a number")
    state["seen"] += time.time() - begin


def write_checkpoint(model, out):
    """config.json, shards in float16 and their index."""
    tensors = {name: tensor.half().contiguous().cpu() for name, tensor in model.export().items()}
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        if size + tensor.numel() * 2 > SHARD:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.numel() * 2
    files = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, f"{out}/{file}", metadata={"format": "pt"})
        files.update(dict.fromkeys(shard, file))
    total = sum(tensor.numel() * 2 for tensor in tensors.values())
    write_json(f"{out}/model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": files})
    config = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        **CONFIG,
        "feed_forward_proj": "gated-silu",
        "dense_act_fn": "silu",
        "is_gated_act": True,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "dropout_rate": 0.0,
        "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "n_positions": 2048,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "use_cache": True,
        "torch_dtype": "float16",
    }
    write_json(f"{out}/config.json", config)


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)


def common_length(a, b):
    """Length of the longest common subsequence of two lists of words."""
    counts = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b):
            above = counts[j + 1]
            counts[j + 1] = diagonal + 1 if word == other else max(counts[j + 1], counts[j])
            diagonal = above
    return counts[-1]


def rouge_l(answer, wanted):
    """F-measure of the longest common subsequence of words, lower case."""
    a, b = answer.lower().split(), wanted.lower().split()
    return 2 * common_length(a, b) / (len(a) + len(b)) if a or b else 0


def generate(model, sources):
    with torch.autocast(DEVICE, torch.bfloat16):
        return model.generate(sources.to(DEVICE).long(), SCORED_STEPS)


def evaluate(model, tokenizer, prepared):
    """Prints some held-out answers, then ROUGE-L by task and language and the share of exact answers."""
    score, exact, shown = {}, {}, {}
    for start in range(0, len(prepared["held"]), 250):
        rows = prepared["held"][start : start + 250]
        for row, ids in zip(rows, generate(model, prepared["held_sources"][start : start + 250])):
            task, text, question, wanted = row
            answer = tokenizer.decode(ids.tolist(), skip_special_tokens=True)
            kind = f"{task}:{question}" if task == "explain" else task
            score.setdefault(kind, []).append(rouge_l(answer, wanted))
            exact.setdefault(task, []).append(answer.strip().lower() == wanted.strip().lower())
            if shown.setdefault(task, 0) < 8:
                shown[task] += 1
                beginning = text[:150].replace("\n", " // ")
                print("---", task, "|", beginning, "|", question, "\n   wanted:", wanted, "\n   answer:", answer)
    right = []
    for ids, (_, wanted) in zip(generate(model, prepared["few_shot_sources"]), prepared["few_shot"]):
        right.append(tokenizer.decode(ids.tolist(), skip_special_tokens=True).strip() == wanted.strip())
    print("ROUGE-L", {kind: (round(sum(own) / len(own), 3), len(own)) for kind, own in score.items()})
    print("exact", {task: round(sum(own) / len(own), 3) for task, own in exact.items()})
    print("few-shot exact", sum(right) / len(right))


def compare_with_transformers(model, out, sources):
    """Prints how far the first logits of the written checkpoint lie from the trainer's, both in float32."""
    from transformers import T5ForConditionalGeneration

    theirs = T5ForConditionalGeneration.from_pretrained(out, dtype=torch.float32).to(DEVICE).eval()
    source = sources.to(DEVICE).long()
    start = torch.zeros(len(source), 1, dtype=torch.long, device=DEVICE)
    with torch.no_grad():
        logits = theirs(input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=start).logits
        print("largest difference from transformers", (logits - model(source, start)).abs().max().item())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "out", help="folder with prep.py's tokenizer.json and prepared.pt; the checkpoint goes there too"
    )
    parser.add_argument("--until", type=float, required=True, help="seconds of this sitting")
    parser.add_argument("--total", type=float, required=True, help="seconds of all sittings")
    parser.add_argument("--state", required=True, help="file that carries the training from one sitting to the next")
    parser.add_argument("--final", action="store_true", help="score the held-out rows and compare with transformers")
    options = parser.parse_args()
    now = time.time()
    torch.manual_seed(int(now))
    random.seed(now)
    torch.backends.cuda.matmul.allow_tf32 = True

    prepared = torch.load(f"{options.out}/prepared.pt", weights_only=False)
    pairs = [*prepared["supervised"], prepared["denoising"], prepared["copying"]]
    sets = [(source.to(DEVICE), target.to(DEVICE)) for source, target in pairs]
    model = T5(CONFIG).to(DEVICE)
    optimizer = optimizer_of(model)
    state = {"step": 0, "seen": 0.0}
    if os.path.exists(options.state):
        saved = torch.load(options.state, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    print(
        sum(parameter.numel() for parameter in model.parameters()) / 1e6, "M parameters; begins at", state, flush=True
    )
    train(model, optimizer, sets, state, options.until, options.total)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
    torch.save(saved, options.state)

    model.eval()
    write_checkpoint(model, options.out)
    if options.final:
        evaluate(model, Tokenizer.from_file(f"{options.out}/tokenizer.json"), prepared)
        compare_with_transformers(model, options.out, prepared["held_sources"][:4])


if __name__ == "__main__":
    main()
