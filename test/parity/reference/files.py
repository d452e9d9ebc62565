"""Reading and writing the weight files of a T5 checkpoint with numpy alone.

The int8 format is the one that server/weights/layout.ts describes; `quantize` states the same rule a second time, so
that the files of the product's own quantizer can be checked against it.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

BLOCK = 128
DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "U8": np.dtype("u1"), "BF16": np.dtype("<u2")}


def read_safetensors(path):
    """All tensors of one file, {name: array}; BF16 is widened to float32, every other type is kept."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + length + start : 8 + length + end], DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = raw.reshape(entry["shape"])
    return tensors


def digest(tensors):
    """SHA-256 over all tensors in the order of their names: each name, then its bytes. Headers do not count."""
    hash = hashlib.sha256()
    for name in sorted(tensors):
        hash.update(name.encode())
        hash.update(np.ascontiguousarray(tensors[name]).tobytes())
    return hash.hexdigest()


def to_bfloat16(array):
    """Float32 to bfloat16, rounded to nearest even, as uint16 bits (which is how this module spells BF16)."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors, metadata=None):
    """Writes {name: array} (float32, float16, uint8; uint16 means BF16) to a temporary name beside `path`, then renames."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, array in tensors.items():
        offsets = [offset, offset + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
        offset = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
    os.replace(temporary, path)


def read_checkpoint(folder):
    """The config and all tensors, in float32, of a Hugging Face folder with one safetensors file or with shards."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    tensors = {}
    for name in names:
        tensors.update(read_safetensors(folder / name))
    return config, {name: array.astype(np.float32) for name, array in tensors.items()}


def is_matrix(name):
    """Quantized: everything but norm weights and relative biases."""
    return not name.endswith("layer_norm.weight") and "relative_attention_bias" not in name


def quantize(weight):
    """[N, K] float32 to values, uint8 [N, paddedK], and scales, float16 [N, paddedK / BLOCK].

    A scale is the block's largest magnitude / 127, rounded up to float16; halves of a step are rounded upwards.
    """
    n, k = weight.shape
    padded = -(-k // BLOCK) * BLOCK
    blocks = np.zeros((n, padded), np.float64)
    blocks[:, :k] = weight
    blocks = blocks.reshape(n, padded // BLOCK, BLOCK)
    exact = np.abs(blocks).max(-1) / 127
    scales = exact.astype(np.float16)
    scales = np.where(scales < exact, np.nextafter(scales, np.float16(np.inf)), scales)
    wide = scales.astype(np.float64)[:, :, None]
    inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide != 0)
    values = np.floor(blocks * inverse + 128.5)
    return values.astype(np.uint8).reshape(n, padded), scales


def dequantize(values, scales, k):
    """[N, k] float32 from values, uint8 [N, paddedK], and scales, float16 [N, paddedK / BLOCK]."""
    n, padded = values.shape
    blocks = values.reshape(n, padded // BLOCK, BLOCK).astype(np.float32) - np.float32(128)
    return (blocks * scales.astype(np.float32)[:, :, None]).reshape(n, padded)[:, :k]


def through_int8(tensors):
    """What the int8 file of these float32 tensors says: every matrix quantized and dequantized."""
    return {
        name: dequantize(*quantize(array), array.shape[1]) if is_matrix(name) else array
        for name, array in tensors.items()
    }


def read_int8(path):
    """The float32 tensors that an int8 weight file stands for. K comes from the padding: see `crop`."""
    stored = read_safetensors(path)
    return {
        name: dequantize(array, stored[f"{name}.scales"], array.shape[1]) if array.dtype == np.uint8 else array
        for name, array in stored.items()
        if not name.endswith(".scales")
    }


def crop(tensors, config):
    """Cuts the padding along K off the tensors of `read_int8`."""
    shapes = tensor_shapes(config)
    if tensors.keys() != shapes.keys():
        raise ValueError(f"tensors differ from the config's: {sorted(tensors.keys() ^ shapes.keys())}")
    return {name: array[..., : shapes[name][-1]] for name, array in tensors.items()}


def tensor_shapes(config):
    """Names and shapes of all tensors of a checkpoint with this config, as in server/weights/layout.ts."""
    d, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    gated = config["feed_forward_proj"].startswith("gated-")
    shapes = {"shared.weight": (config["vocab_size"], d)}

    def attention(prefix, bias):
        for letter in "qkv":
            shapes[f"{prefix}.{letter}.weight"] = (inner, d)
        shapes[f"{prefix}.o.weight"] = (d, inner)
        if bias:
            shape = (config["relative_attention_num_buckets"], config["num_heads"])
            shapes[f"{prefix}.relative_attention_bias.weight"] = shape

    for stack, layers in (("encoder", config["num_layers"]), ("decoder", config["num_decoder_layers"])):
        for block in range(layers):
            prefix = f"{stack}.block.{block}.layer"
            attention(f"{prefix}.0.SelfAttention", block == 0 or config["model_type"] == "umt5")
            shapes[f"{prefix}.0.layer_norm.weight"] = (d,)
            if stack == "decoder":
                attention(f"{prefix}.1.EncDecAttention", False)
                shapes[f"{prefix}.1.layer_norm.weight"] = (d,)
            last = 2 if stack == "decoder" else 1
            for name in ("wi_0", "wi_1") if gated else ("wi",):
                shapes[f"{prefix}.{last}.DenseReluDense.{name}.weight"] = (config["d_ff"], d)
            shapes[f"{prefix}.{last}.DenseReluDense.wo.weight"] = (d, config["d_ff"])
            shapes[f"{prefix}.{last}.layer_norm.weight"] = (d,)
        shapes[f"{stack}.final_layer_norm.weight"] = (d,)
    if not config.get("tie_word_embeddings", True):
        shapes["lm_head.weight"] = (config["vocab_size"], d)
    return shapes
