"""The small checkpoints: their configs, and random weights that give lively logits.

Weights of a plain initialisation make a model that repeats one token. Here attention scores and sub-layer outputs are
scaled so that every part of the network has a say in the logits, and norm weights differ from one.
"""

import json
import os

import numpy as np

from files import tensor_shapes, to_bfloat16, write_safetensors

COMMON = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "is_encoder_decoder": True,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-06,
    "initializer_factor": 1.0,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "n_positions": 512,
    "use_cache": True,
}

# name: (seed, stored dtype, shards, config)
CHECKPOINTS = {
    "relu-tied": (11, "float32", 1, {
        "vocab_size": 256, "d_model": 40, "d_kv": 8, "d_ff": 88, "num_layers": 2, "num_decoder_layers": 2,
        "num_heads": 4, "feed_forward_proj": "relu", "tie_word_embeddings": True,
    }),
    "gelu-untied": (12, "bfloat16", 1, {
        "vocab_size": 320, "d_model": 48, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2,
        "num_heads": 4, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }),
    "silu-noflag": (13, "float16", 1, {
        "vocab_size": 384, "d_model": 48, "d_kv": 64, "d_ff": 128, "num_layers": 1, "num_decoder_layers": 1,
        "num_heads": 2, "feed_forward_proj": "gated-silu",
    }),
    "silu-uneven": (14, "bfloat16", 2, {
        "vocab_size": 272, "d_model": 56, "d_kv": 24, "d_ff": 136, "num_layers": 3, "num_decoder_layers": 1,
        "num_heads": 2, "feed_forward_proj": "gated-silu", "tie_word_embeddings": True,
        "relative_attention_num_buckets": 16, "relative_attention_max_distance": 64,
    }),
    "umt5": (15, "float16", 1, {
        "architectures": ["UMT5ForConditionalGeneration"], "model_type": "umt5",
        "vocab_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 80, "num_layers": 3, "num_decoder_layers": 3,
        "num_heads": 3, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }),
}  # fmt: skip


def config_of(name):
    """The config.json of a small checkpoint, as published checkpoints of its form write it."""
    _, dtype, _, own = CHECKPOINTS[name]
    gated = own["feed_forward_proj"].startswith("gated-")
    activation = own["feed_forward_proj"].removeprefix("gated-")
    derived = {
        "is_gated_act": gated,
        "dense_act_fn": "gelu_new" if activation == "gelu" else activation,
        "torch_dtype": dtype,
    }
    return {**COMMON, **own, **derived}


def random_weights(name):
    """Float32 weights {name: array} of a small checkpoint; the same at every call."""
    config = config_of(name)
    random = np.random.default_rng(CHECKPOINTS[name][0])
    d, inner, ff = config["d_model"], config["num_heads"] * config["d_kv"], config["d_ff"]
    scores = 1.5**0.5 * config["d_kv"] ** -0.25  # attention scores with a standard deviation of about 1.5
    deviation = {
        "shared": 0.25,  # small beside the sub-layers, or a tied model repeats its input
        "lm_head": 3 * d**-0.5,
        "q": scores * d**-0.5,
        "k": scores * d**-0.5,
        "v": 1.5 * d**-0.5,
        "o": 2 * inner**-0.5,
        "wi": 1.5 * d**-0.5,
        "wi_0": 1.5 * d**-0.5,
        "wi_1": 1.5 * d**-0.5,
        "wo": 1.5 * ff**-0.5,
        "relative_attention_bias": 1.0,
    }
    weights = {}
    for tensor, shape in tensor_shapes(config).items():
        noise = random.standard_normal(shape)
        part = tensor.split(".")[-2]
        if part in deviation:
            array = noise * deviation[part]
        else:
            tied = config.get("tie_word_embeddings", True)
            level = 12 if tied and tensor == "decoder.final_layer_norm.weight" else 1
            array = level * (1 + 0.2 * noise)
        weights[tensor] = array.astype(np.float32)
    if "lm_head.weight" in weights:  # the end token's logit spreads more widely, so that some sequences end
        weights["lm_head.weight"][1] *= 3
    return weights


def prompt_ids(name, length, seed):
    """Random source ids without the special ones."""
    vocabulary = config_of(name)["vocab_size"]
    return np.random.default_rng(seed).integers(3, vocabulary, length).tolist()


def stored_tensors(name):
    """What the files of a checkpoint hold: its weights in the stored type, and what such checkpoints hold besides."""
    config, dtype = config_of(name), CHECKPOINTS[name][1]
    weights = random_weights(name)
    if name == "relu-tied":  # the first T5 checkpoints carry a bias that their models never use
        shape = (config["relative_attention_num_buckets"], config["num_heads"])
        weights["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.ones(shape, np.float32)
    if name == "umt5":  # some savers write the shared embedding three times
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
        weights["decoder.embed_tokens.weight"] = weights["shared.weight"]
    cast = {"float32": lambda a: a, "float16": lambda a: a.astype(np.float16), "bfloat16": to_bfloat16}[dtype]
    return {tensor: cast(weights[tensor]) for tensor in sorted(weights)}


def write_checkpoint(name, folder):
    """Writes a small checkpoint as a Hugging Face folder, with an index if it has several shards."""
    os.makedirs(folder, exist_ok=True)
    tensors = stored_tensors(name)
    shards = CHECKPOINTS[name][2]
    names = list(tensors)
    size = -(-len(names) // shards)
    weight_map = {}
    for shard in range(shards):
        part = names[shard * size : (shard + 1) * size]
        file = "model.safetensors" if shards == 1 else f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        write_safetensors(folder / file, {tensor: tensors[tensor] for tensor in part}, {"format": "pt"})
        weight_map.update({tensor: file for tensor in part})
    if shards > 1:
        total = sum(array.nbytes for array in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(config_of(name), indent=2) + "\n")
