"""T5 v1.1 with a gated SiLU in plain PyTorch, for training; parameter names as in a Hugging Face checkpoint.

It differs from the published form in where scales stand, which trains better: embeddings and attention scores are scaled
in the computation. `T5.export` folds these scales into the weights, so that a T5 with tied embeddings and without any
scale in attention computes the same function.

Shapes: B rows of a batch, T positions, D the model's width, H heads of width K.
"""

import math

import torch
from torch import nn
from torch.nn import functional

MASKED = -1e4  # added to attention scores that must not count; -inf would make NaN in rows of padding
EPSILON = 1e-6
DROPOUT = 0.1
BUCKETS = 32
FARTHEST = 128


class Norm(nn.Module):
    """RMS norm without mean and bias, computed in float32."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON)
        return (wide * scale).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Multi-head attention; block 0 of a stack also holds the table of relative biases."""

    def __init__(self, width, heads, head_width, bias=False):
        super().__init__()
        self.heads = heads
        self.head_width = head_width
        inner = heads * head_width
        self.q = nn.Linear(width, inner, bias=False)
        self.k = nn.Linear(width, inner, bias=False)
        self.v = nn.Linear(width, inner, bias=False)
        self.o = nn.Linear(inner, width, bias=False)
        if bias:
            self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def split(self, x):
        """[B, T, H * K] to [B, H, T, K]."""
        return x.view(x.shape[0], -1, self.heads, self.head_width).transpose(1, 2)

    def forward(self, x, memory, bias):
        rows, length, _ = x.shape
        query = self.split(self.q(x) * self.head_width**-0.5)
        scores = query @ self.split(self.k(memory)).transpose(2, 3)
        weights = torch.softmax(scores.float() + bias.float(), -1).to(x.dtype)
        mixed = weights @ self.split(self.v(memory))
        return self.o(mixed.transpose(1, 2).reshape(rows, length, -1))


class FeedForward(nn.Module):
    """wo(silu(wi_0 x) * wi_1 x)."""

    def __init__(self, width, inner):
        super().__init__()
        self.wi_0 = nn.Linear(width, inner, bias=False)
        self.wi_1 = nn.Linear(width, inner, bias=False)
        self.wo = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        hidden = functional.silu(self.wi_0(x)) * self.wi_1(x)
        return self.wo(functional.dropout(hidden, DROPOUT, self.training))


class SelfAttentionLayer(nn.Module):
    def __init__(self, config, bias):
        super().__init__()
        self.SelfAttention = Attention(config["d_model"], config["num_heads"], config["d_kv"], bias)
        self.layer_norm = Norm(config["d_model"])


class CrossAttentionLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.EncDecAttention = Attention(config["d_model"], config["num_heads"], config["d_kv"])
        self.layer_norm = Norm(config["d_model"])


class FeedForwardLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.DenseReluDense = FeedForward(config["d_model"], config["d_ff"])
        self.layer_norm = Norm(config["d_model"])


class Block(nn.Module):
    def __init__(self, config, decoder, bias):
        super().__init__()
        layers = [SelfAttentionLayer(config, bias)]
        if decoder:
            layers.append(CrossAttentionLayer(config))
        layers.append(FeedForwardLayer(config))
        self.layer = nn.ModuleList(layers)


def buckets(relative, bidirectional):
    """The bucket of each relative position (key minus query): single ones when near, then growing by logarithms."""
    out = torch.zeros_like(relative)
    count = BUCKETS
    if bidirectional:
        count //= 2
        out = out + (relative > 0).long() * count
        distance = relative.abs()
    else:
        distance = (-relative).clamp(min=0)
    exact = count // 2
    ratio = torch.log(distance.float().clamp(min=1) / exact) / math.log(FARTHEST / exact)
    far = exact + (ratio * (count - exact)).long()
    return out + torch.where(distance < exact, distance, far.clamp(max=count - 1))


class Stack(nn.Module):
    """The encoder or the decoder."""

    def __init__(self, config, layers, decoder):
        super().__init__()
        self.decoder = decoder
        self.block = nn.ModuleList([Block(config, decoder, i == 0) for i in range(layers)])
        self.final_layer_norm = Norm(config["d_model"])

    def drop(self, x):
        return functional.dropout(x, DROPOUT, self.training)

    def forward(self, x, bias, memory=None, memory_bias=None):
        for block in self.block:
            layers = block.layer
            normed = layers[0].layer_norm(x)
            x = x + self.drop(layers[0].SelfAttention(normed, normed, bias))
            if self.decoder:
                x = x + self.drop(layers[1].EncDecAttention(layers[1].layer_norm(x), memory, memory_bias))
            x = x + self.drop(layers[-1].DenseReluDense(layers[-1].layer_norm(x)))
        return self.final_layer_norm(x)

    def bias(self, length, device):
        """Relative biases [1, H, length, length] of all blocks."""
        position = torch.arange(length, device=device)
        relative = position[None, :] - position[:, None]
        table = self.block[0].layer[0].SelfAttention.relative_attention_bias
        return table(buckets(relative, not self.decoder)).permute(2, 0, 1)[None]


class T5(nn.Module):
    """`config` holds vocab_size, d_model, d_kv, d_ff, num_layers, num_decoder_layers and num_heads. Padding is the id 0."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config, config["num_layers"], False)
        self.decoder = Stack(config, config["num_decoder_layers"], True)
        self.scale = config["d_model"] ** 0.5
        for name, parameter in self.named_parameters():
            deviation = self.initial_deviation(name)
            if deviation:
                nn.init.normal_(parameter, 0, deviation)

    def initial_deviation(self, name):
        """Standard deviation of a parameter's first values; None for norm weights, which begin at one."""
        config = self.config
        depth = 3 * config["num_decoder_layers"] + 2 * config["num_layers"]  # sub-layers that add to the residual
        if name.endswith("layer_norm.weight"):
            return None
        if "relative" in name:
            return 0.1
        if name.endswith("wo.weight"):
            return config["d_ff"] ** -0.5 * depth**-0.5
        if name.endswith(".o.weight"):
            return config["d_model"] ** -0.5 * depth**-0.5
        return 0.05 if name.startswith("shared") else config["d_model"] ** -0.5

    def embed(self, ids):
        return self.shared(ids) * self.scale

    def export(self):
        """The state with all scales folded in: a checkpoint of T5 v1.1 with tied embeddings."""
        state = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        for name in state:
            if name.endswith(".q.weight"):
                state[name] *= self.config["d_kv"] ** -0.5
            if name.endswith(".o.weight") or name.endswith("wo.weight"):
                state[name] /= self.scale
        state["decoder.final_layer_norm.weight"] *= self.scale
        return state

    def encode(self, source):
        """Ids [B, T] to the encoder output [B, T, D], and the mask of padding [B, 1, 1, T] to add to scores."""
        padding = torch.zeros(source.shape, device=source.device).masked_fill(source == 0, MASKED)[:, None, None, :]
        bias = self.encoder.bias(source.shape[1], source.device)
        return self.encoder(self.embed(source), bias + padding), padding

    def decode(self, target, memory, padding):
        """Decoder input [B, T] to logits [B, T, vocab_size]."""
        length = target.shape[1]
        causal = torch.full((length, length), MASKED, device=target.device).triu(1)
        bias = self.decoder.bias(length, target.device)
        return functional.linear(self.decoder(self.embed(target), bias + causal, memory, padding), self.shared.weight)

    def forward(self, source, target):
        memory, padding = self.encode(source)
        return self.decode(target, memory, padding)

    @torch.no_grad()
    def generate(self, source, steps):
        """Greedy ids [B, at most `steps`]; 0 after the end token 1."""
        memory, padding = self.encode(source)
        out = torch.zeros(source.shape[0], 1, dtype=torch.long, device=source.device)
        done = torch.zeros(source.shape[0], dtype=torch.bool, device=source.device)
        for _ in range(steps):
            ids = self.decode(out, memory, padding)[:, -1].argmax(-1).masked_fill(done, 0)
            done |= ids == 1
            out = torch.cat([out, ids[:, None]], 1)
            if done.all():
                break
        return out[:, 1:]
