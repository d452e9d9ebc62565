"""The reference for full_size.ts: transformers in float32 on a card, over a noise file of a model of real size.

    python3 test/gpu/full_size.py NOISE.safetensors OUT.json

Flan-UL2 takes 78 GB in float32; with 8 of its layers it takes 20 GB.
"""

import json
import sys

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

BLOCK = 128
STEPS = 64
KEPT = 64  # values of a vector that are compared, spread over it


def tensor(path, places, name):
    """A tensor of the file, float32 on the card."""
    place = places[name]
    if place["dtype"] == "F32":
        values = np.fromfile(path, np.float32, place["bytes"] // 4, offset=place["offset"])
        return torch.from_numpy(values).cuda().reshape(place["shape"])
    raw = np.fromfile(path, np.uint8, place["bytes"], offset=place["offset"])
    scale_place = places[f"{name}.scales"]
    scales = np.fromfile(path, np.float16, scale_place["bytes"] // 2, offset=scale_place["offset"])
    n, k = place["shape"]
    weights = torch.from_numpy(raw).cuda().float().sub_(128).reshape(n, k // BLOCK, BLOCK)
    weights.mul_(torch.from_numpy(scales).cuda().float().reshape(n, k // BLOCK, 1))
    return weights.reshape(n, k)


def load(path):
    with open(f"{path}.json") as file:
        described = json.load(file)
    ours, places = described["config"], described["places"]
    kind = {"relu": "relu", "gelu_new": "gelu", "silu": "silu"}[ours["activation"]]
    config = T5Config(
        vocab_size=ours["vocabSize"], d_model=ours["dModel"], d_kv=ours["dKv"], d_ff=ours["dFf"],
        num_layers=ours["encoderLayers"], num_decoder_layers=ours["decoderLayers"], num_heads=ours["numHeads"],
        feed_forward_proj=f"gated-{kind}" if ours["gated"] else kind, tie_word_embeddings=ours["tied"],
        layer_norm_epsilon=ours["layerNormEpsilon"], decoder_start_token_id=0, dropout_rate=0.0,
    )
    with torch.device("meta"):
        model = T5ForConditionalGeneration(config)
    model.to_empty(device="cuda").float().eval()
    model.tie_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            source = name if name in places else "shared.weight"
            parameter.copy_(tensor(path, places, source)[:, : parameter.shape[-1]] if parameter.dim() == 2 else tensor(path, places, source))
    return model, ours


def spread(values):
    """Some values of a vector, and its largest."""
    flat = values.flatten()
    at = torch.linspace(0, flat.numel() - 1, KEPT, device=flat.device, dtype=torch.float64).long()
    return {"at": at.tolist(), "values": flat[at].double().tolist(), "largest": flat.abs().max().item()}


@torch.no_grad()
def main():
    path, out = sys.argv[1:]
    torch.backends.cuda.matmul.allow_tf32 = False
    model, ours = load(path)
    residual = [0.0]
    for block in model.encoder.block:
        block.register_forward_hook(lambda _m, _i, o: residual.append(o[0].abs().max().item()))
    cases = []
    for tokens in (33, 512, 2048):
        ids = [3 + (i * 7919) % (ours["vocabSize"] - 3) for i in range(tokens - 1)] + [1]
        hidden = model.encoder(input_ids=torch.tensor([ids], device="cuda")).last_hidden_state
        fed, picked, gaps, first = [0], [], [], None
        cache = None
        for _ in range(STEPS):
            step = model(
                encoder_outputs=BaseModelOutput(hidden), decoder_input_ids=torch.tensor([fed[-1:]], device="cuda"),
                past_key_values=cache, use_cache=True,
            )
            cache = step.past_key_values
            logits = step.logits[0, -1]
            first = logits if first is None else first
            best = logits.topk(2)
            picked.append(best.indices[0].item())
            gaps.append((best.values[0] - best.values[1]).item())
            fed.append(picked[-1])
        cases.append({
            "promptIds": ids, "hidden": spread(hidden[0]), "logits": spread(first),
            "top": first.topk(8).indices.tolist(), "ids": picked, "gaps": gaps,
        })
        print(f"{tokens} tokens: residual stream up to {max(residual):.0f}, logits from {first.min():.2f} to {first.max():.2f}")
    with open(out, "w") as file:
        json.dump(cases, file)


main()
