"""Makes the PyTorch checkpoints of this folder with torch.save itself. Run it where PyTorch is installed.

Element i of tensor t (in the order of the sorted names) is ((7 i + 13 t) mod 251 - 125) / 64, which BF16 holds exactly.
The embedding stands under four names that share one storage, as in the checkpoints of transformers.
"""

import json
import os

import torch

CONFIG = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "vocab_size": 12,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 10,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward_proj": "gated-silu",
}
BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"


def shapes():
    yield "shared.weight", (12, 8)
    for stack, attentions in (("encoder", ["0.SelfAttention"]), ("decoder", ["0.SelfAttention", "1.EncDecAttention"])):
        block = f"{stack}.block.0.layer"
        for attention in attentions:
            for matrix in "qkvo":
                yield f"{block}.{attention}.{matrix}.weight", (8, 8)
            yield f"{block}.{attention.split('.')[0]}.layer_norm.weight", (8,)
        yield f"{stack}.block.0.{BIAS}", (32, 2)
        ff = f"{block}.{len(attentions)}"
        yield f"{ff}.DenseReluDense.wi_0.weight", (10, 8)
        yield f"{ff}.DenseReluDense.wi_1.weight", (10, 8)
        yield f"{ff}.DenseReluDense.wo.weight", (8, 10)
        yield f"{ff}.layer_norm.weight", (8,)
        yield f"{stack}.final_layer_norm.weight", (8,)


def state(dtype):
    tensors = {}
    for number, (name, shape) in enumerate(sorted(shapes())):
        flat = torch.arange(torch.tensor(shape).prod().item())
        tensors[name] = (((flat * 7 + number * 13) % 251 - 125) / 64).reshape(shape).to(dtype)
    module = torch.nn.Module()
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        at = module
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        at.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
    for alias in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        at = module
        for part in alias.split("."):
            if not hasattr(at, part):
                at.add_module(part, torch.nn.Module())
            at = getattr(at, part)
        at.weight = module.shared.weight
    return module.state_dict()  # an OrderedDict with _metadata


def folder(name):
    os.makedirs(name, exist_ok=True)
    with open(f"{name}/config.json", "w") as file:
        json.dump(CONFIG, file)
    return name


os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.save(state(torch.bfloat16), f"{folder('zip')}/pytorch_model.bin")
torch.save(state(torch.float32), f"{folder('legacy')}/pytorch_model.bin", _use_new_zipfile_serialization=False)

tensors = state(torch.float16)
names = sorted(tensors)
index = {}
for shard in range(2):
    part = f"pytorch_model-0000{shard + 1}-of-00002.bin"
    chosen = {name: tensors[name].clone() for name in names[shard * 14 : (shard + 1) * 14 if shard == 0 else None]}
    torch.save(chosen, f"{folder('sharded')}/{part}")
    index.update({name: part for name in chosen})
with open("sharded/pytorch_model.bin.index.json", "w") as file:
    json.dump({"metadata": {}, "weight_map": index}, file, indent=1)

whole = torch.arange(12.0).reshape(3, 4)
torch.save({"rows": whole[1:], "one": whole[:, :1][1:2], "scalar": torch.tensor(7), "text": "x"}, "views.bin")
torch.save({"transposed": whole.t()}, "transposed.bin")
torch.save([whole], "list.bin")


class Evil:
    def __reduce__(self):
        return (os.system, ("echo this must never run > evil.txt",))


torch.save({"shared.weight": Evil()}, "evil.bin")
torch.save({"shared.weight": Evil()}, "evil-legacy.bin", _use_new_zipfile_serialization=False)
