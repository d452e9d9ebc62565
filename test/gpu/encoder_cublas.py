"""The encoder's matrix products through cuBLAS (PyTorch, bf16), for comparison: Flan-UL2's shapes, own weights a layer."""

import statistics
import sys

import torch

LAYERS, D, F = 32, 4096, 16384
SHAPES = {'qkv': (D, 3 * D), 'o': (D, D), 'wi': (D, 2 * F), 'wo': (F, D), 'cross': (D, 2 * D)}


def median_ms(run, repeats=10, warm=3):
    times = []
    for i in range(warm + repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        if i >= warm:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def main():
    device = torch.device('cuda')
    print(torch.cuda.get_device_name(device))
    weights = {n: [torch.randn(k, m, device=device, dtype=torch.bfloat16) / k**0.5 for _ in range(LAYERS)] for n, (k, m) in SHAPES.items()}
    for tokens in [int(a) for a in sys.argv[1:]] or [512, 2048]:
        inputs = {k: torch.randn(tokens, k, device=device, dtype=torch.bfloat16) for k in (D, F)}

        def products(names):
            for layer in range(LAYERS):
                for n in names:
                    inputs[SHAPES[n][0]] @ weights[n][layer]

        total = median_ms(lambda: products(SHAPES))
        flops = sum(2 * tokens * k * m for k, m in SHAPES.values()) * LAYERS
        print(f'cuBLAS bf16, {tokens} tokens: {total:.2f} ms for all products, {flops / total / 1e9:.0f} TFLOP/s')
        for n, (k, m) in SHAPES.items():
            ms = median_ms(lambda n=n: products([n]))
            print(f'  {n:6} {ms:7.2f} ms  {2 * tokens * k * m * LAYERS / ms / 1e9:.0f} TFLOP/s')


main()
