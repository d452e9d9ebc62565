"""T5 in numpy and float64, written from the paper's description: the second opinion of check.py."""

import math

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def buckets(relative, bidirectional, count, farthest):
    """Bucket of each relative position (key minus query)."""
    base = np.zeros_like(relative)
    if bidirectional:
        count //= 2
        base = (relative > 0) * count
        distance = np.abs(relative)
    else:
        distance = np.maximum(-relative, 0)
    exact = count // 2
    # float32 as in the reference: at powers of two a wider logarithm could fall on the other side of an integer
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        np.log(farthest / exact)
    )
    far = exact + (ratio * np.float32(count - exact)).astype(np.int64)
    return base + np.where(distance < exact, distance, np.minimum(far, count - 1))


class T5:
    """`tensors`: {Hugging Face name: array}; `config`: the parsed config.json."""

    def __init__(self, config, tensors):
        self.config = config
        self.tensors = {name: array.astype(np.float64) for name, array in tensors.items()}
        self.tied = config.get("tie_word_embeddings", True)
        self.head = self.tensors["shared.weight" if self.tied else "lm_head.weight"]

    def norm(self, x, name):
        variance = np.square(x).mean(-1, keepdims=True)
        return x / np.sqrt(variance + self.config["layer_norm_epsilon"]) * self.tensors[f"{name}.weight"]

    def attention(self, prefix, x, memory, bias):
        heads, width = self.config["num_heads"], self.config["d_kv"]

        def project(letter, source):
            y = source @ self.tensors[f"{prefix}.{letter}.weight"].T
            return y.reshape(len(source), heads, width).transpose(1, 0, 2)

        q, k, v = project("q", x), project("k", memory), project("v", memory)
        weights = softmax(q @ k.transpose(0, 2, 1) + bias)
        mixed = (weights @ v).transpose(1, 0, 2).reshape(len(x), heads * width)
        return mixed @ self.tensors[f"{prefix}.o.weight"].T

    def feed_forward(self, prefix, x):
        projection = self.config["feed_forward_proj"]
        gated = projection.startswith("gated-")
        # "gated-gelu" alone means the approximation; the exact function is named in dense_act_fn or without a gate.
        act = "gelu_new" if projection == "gated-gelu" else projection.removeprefix("gated-")
        act = self.config.get("dense_act_fn", act)
        h = x @ self.tensors[f"{prefix}.{'wi_0' if gated else 'wi'}.weight"].T
        if act == "relu":
            h = np.maximum(h, 0)
        elif act == "silu":
            h = h / (1 + np.exp(-h))
        elif act == "gelu":
            h = 0.5 * h * (1 + np.vectorize(math.erf)(h / np.sqrt(2)))
        elif act == "gelu_new":
            h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        else:
            raise ValueError(f"unknown activation {act}")
        if gated:
            h = h * (x @ self.tensors[f"{prefix}.wi_1.weight"].T)
        return h @ self.tensors[f"{prefix}.wo.weight"].T

    def bias(self, stack, block, length):
        config = self.config
        block = block if config["model_type"] == "umt5" else 0
        table = self.tensors[f"{stack}.block.{block}.layer.0.SelfAttention.relative_attention_bias.weight"]
        position = np.arange(length)
        relative = position[None, :] - position[:, None]
        bucket = buckets(
            relative,
            stack == "encoder",
            config["relative_attention_num_buckets"],
            config["relative_attention_max_distance"],
        )
        bias = table[bucket].transpose(2, 0, 1)
        return bias if stack == "encoder" else np.where(relative > 0, -np.inf, bias)

    def encode(self, ids):
        """[length] ids to the encoder output [length, d_model]."""
        x = self.tensors["shared.weight"][ids]
        for block in range(self.config["num_layers"]):
            prefix = f"encoder.block.{block}.layer"
            y = self.norm(x, f"{prefix}.0.layer_norm")
            x = x + self.attention(f"{prefix}.0.SelfAttention", y, y, self.bias("encoder", block, len(ids)))
            x = x + self.feed_forward(f"{prefix}.1.DenseReluDense", self.norm(x, f"{prefix}.1.layer_norm"))
        return self.norm(x, "encoder.final_layer_norm")

    def logits(self, memory, ids):
        """Decoder input [n] (start token first) to logits [n, vocab]."""
        x = self.tensors["shared.weight"][ids]
        for block in range(self.config["num_decoder_layers"]):
            prefix = f"decoder.block.{block}.layer"
            y = self.norm(x, f"{prefix}.0.layer_norm")
            x = x + self.attention(f"{prefix}.0.SelfAttention", y, y, self.bias("decoder", block, len(ids)))
            y = self.norm(x, f"{prefix}.1.layer_norm")
            x = x + self.attention(f"{prefix}.1.EncDecAttention", y, memory, 0.0)
            x = x + self.feed_forward(f"{prefix}.2.DenseReluDense", self.norm(x, f"{prefix}.2.layer_norm"))
        x = self.norm(x, "decoder.final_layer_norm")
        if self.tied:
            x = x * self.config["d_model"] ** -0.5
        return x @ self.head.T

    def greedy(self, memory, limit):
        """New ids, at most `limit`, and the gap between the two best logits at each step."""
        ids, gaps = [], []
        while len(ids) < limit:
            last = self.logits(memory, [0, *ids])[-1]
            best = np.sort(last)[-2:]
            ids.append(int(last.argmax()))
            gaps.append(float(best[1] - best[0]))
            if ids[-1] == 1:
                break
        return ids, gaps
