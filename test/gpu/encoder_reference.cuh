// Plain references for the encoder's kernels: float32 inputs, float64 sums, one formula each, and none of the layouts of
// the kernels under test (those are converted to rows first).
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

namespace reference {

__device__ __forceinline__ uint32_t mix(uint64_t i, uint32_t seed) {
  uint32_t x = (uint32_t)(i * 2654435761u) ^ (uint32_t)(i >> 20) ^ (seed * 0x9E3779B9u);
  x ^= x >> 15;
  x *= 2246822519u;
  x ^= x >> 13;
  x *= 3266489917u;
  return x ^ (x >> 16);
}

// A matrix as in the weight file: U8 [N, K padded to 128] and F16 scales a block, with weights of about `deviation`.
__global__ void fill_matrix(uint8_t* w, half* scales, int N, int K, int Kp, float deviation, uint32_t seed) {
  const size_t n = (size_t)N * Kp;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
    w[i] = (int)(i % Kp) < K ? 1 + mix(i, seed) % 255 : 128;
    if (i % 128 == 0) scales[i / 128] = __float2half(deviation / 73.9f * (0.5f + (mix(i, seed + 1) & 1023) / 1024.f));
  }
}
__global__ void fill_float(float* p, int n, float center, float spread, uint32_t seed) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) p[i] = center + spread * ((mix(i, seed) & 0xFFFF) / 32768.f - 1.f);
}

// out[t, n] = scale * sum_k x[t, k] W[n, k] (+ out). 64 x 64 outputs a block of 256; products of 16 k in float32, sums in float64.
__global__ void product(const uint8_t* w, const half* scales, const float* x, float* out, int T, int N, int K, int Kp, int add,
                        float scale) {
  __shared__ float ws[16][65], xs[16][65];
  double sum[4][4] = {};
  const int n0 = blockIdx.x * 64, t0 = blockIdx.y * 64, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int k0 = 0; k0 < Kp; k0 += 16) {
    for (int i = threadIdx.x; i < 1024; i += 256) {
      const int r = i / 16, k = k0 + i % 16;
      ws[i % 16][r] = n0 + r < N ? ((int)w[(size_t)(n0 + r) * Kp + k] - 128) * __half2float(scales[((size_t)(n0 + r) * Kp + k) / 128]) : 0.f;
      xs[i % 16][r] = t0 + r < T && k < K ? x[(size_t)(t0 + r) * K + k] : 0.f;
    }
    __syncthreads();
    float part[4][4] = {};
    for (int k = 0; k < 16; k++)
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) part[i][j] += xs[k][ty + 16 * i] * ws[k][tx + 16 * j];
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) sum[i][j] += part[i][j];
    __syncthreads();
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      const int t = t0 + ty + 16 * i, n = n0 + tx + 16 * j;
      if (t < T && n < N) out[(size_t)t * N + n] = (float)(sum[i][j] * scale + (add ? out[(size_t)t * N + n] : 0.f));
    }
}

__global__ void norm(const float* x, const float* gamma, float* out, int D, float eps) {
  __shared__ double part[256];
  const float* row = x + (size_t)blockIdx.x * D;
  double s = 0;
  for (int i = threadIdx.x; i < D; i += 256) s += (double)row[i] * row[i];
  part[threadIdx.x] = s;
  __syncthreads();
  for (int m = 128; m; m >>= 1) {
    if (threadIdx.x < m) part[threadIdx.x] += part[threadIdx.x + m];
    __syncthreads();
  }
  const double inv = 1 / sqrt(part[0] / D + eps);
  for (int i = threadIdx.x; i < D; i += 256) out[(size_t)blockIdx.x * D + i] = (float)(row[i] * inv * gamma[i]);
}

// qkv [T, 3, heads, dKv]; bias [buckets, heads]; out [T, heads, dKv]. One block of 128 a query and head, float64 softmax.
__global__ void attention(const float* qkv, const float* bias, float* out, int T, int heads, int dKv, int buckets, int maxDistance) {
  extern __shared__ float score[];
  __shared__ double part[128];
  const int q = blockIdx.x, h = blockIdx.y, inner = heads * dKv;
  const float* qr = qkv + (size_t)q * 3 * inner + h * dKv;
  double top = -1e300;
  for (int k = threadIdx.x; k < T; k += 128) {
    const float* kr = qkv + (size_t)k * 3 * inner + inner + h * dKv;
    double s = 0;
    for (int i = 0; i < dKv; i++) s += (double)(qr[i] * kr[i]);
    const int half = buckets / 2, exact = half / 2, distance = k - q, n = abs(distance);
    int bucket = n;
    if (n >= exact) bucket = min(exact + (int)(logf((float)n / exact) / logf((float)maxDistance / exact) * (half - exact)), half - 1);
    s += bias[(bucket + (distance > 0 ? half : 0)) * heads + h];
    score[k] = (float)s;
    top = fmax(top, s);
  }
  part[threadIdx.x] = top;
  __syncthreads();
  for (int i = 0; i < 128; i++) top = fmax(top, part[i]);
  double total = 0;
  for (int k = 0; k < T; k++) total += exp((double)(score[k] - (float)top));
  for (int d = threadIdx.x; d < dKv; d += 128) {
    double s = 0;
    for (int k = 0; k < T; k++) s += (double)__expf(score[k] - (float)top) * qkv[(size_t)k * 3 * inner + 2 * inner + h * dKv + d];
    out[(size_t)q * inner + h * dKv + d] = (float)(s / total);
  }
}

// wi [T, 2, F] (gated) or [T, F] to h [T, F].
__global__ void activate(const float* wi, float* h, int T, int F, int gated, int kind) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (size_t)T * F) return;
  const size_t t = i / F, f = i % F;
  const double x = wi[gated ? t * 2 * F + f : i];
  const double y = kind == 0   ? fmax(x, 0.0)
                   : kind == 1 ? 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)))
                               : x / (1 + exp(-x));
  h[i] = (float)(gated ? y * wi[t * 2 * F + F + f] : y);
}

// sums: [0] |a - b|^2, [1] |b|^2, [2] values of a that are not finite
__global__ void compare(const float* a, const float* b, size_t n, double* sums) {
  double e = 0, r = 0, bad = 0;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
    const double d = (double)a[i] - b[i];
    e += d * d;
    r += (double)b[i] * b[i];
    if (!isfinite(a[i]) || !isfinite(b[i])) bad += 1;
  }
  for (int m = 16; m; m >>= 1) {
    e += __shfl_xor_sync(~0u, e, m);
    r += __shfl_xor_sync(~0u, r, m);
    bad += __shfl_xor_sync(~0u, bad, m);
  }
  if (threadIdx.x % 32 == 0) {
    atomicAdd(sums, e);
    atomicAdd(sums + 1, r);
    atomicAdd(sums + 2, bad);
  }
}

__global__ void largest(const float* a, size_t n, unsigned* bits) {
  unsigned m = 0;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) m = max(m, __float_as_uint(fabsf(a[i])));
  atomicMax(bits, m);
}

// Converters from the encoder's layouts (encoder.cuh) to rows.
__global__ void rows_of_tiles(const half* tiles, float* out, int T, int K, int kTiles, float scale) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (size_t)T * K) return;
  const int t = (int)(i / K), k = (int)(i % K);
  const size_t tile = (size_t)(t / 64) * kTiles + k / 64;
  out[i] = scale * __half2float(tiles[tile * 4096 + (t % 64) * 64 + (((k % 64) / 8) ^ (t % 8)) * 8 + k % 8]);
}
__global__ void rows_of_fragments(const float* x, float* out, int T, int D, int groups) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (size_t)T * D) return;
  const int t = (int)(i / D), d = (int)(i % D);
  const int lane = (d % 8) * 4 + (t % 8) / 2, part = (d % 16) / 8 * 2 + t % 2;
  out[i] = x[(((size_t)(t / 8) * groups + d / 16) * 32 + lane) * 4 + part];
}
// [3][heads][tokenBlocks][dTiles][64][64] to [T, 3, heads, dKv]
__global__ void rows_of_heads(const half* tiles, float* out, int T, int heads, int dKv, int dTiles, int tokenBlocks) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  const int inner = heads * dKv;
  if (i >= (size_t)T * 3 * inner) return;
  const int t = (int)(i / (3 * inner)), r = (int)(i % (3 * inner)), plane = r / dKv, d = r % dKv;
  const size_t tile = ((size_t)plane * tokenBlocks + t / 64) * dTiles + d / 64;
  out[i] = __half2float(tiles[tile * 4096 + (t % 64) * 64 + (((d % 64) / 8) ^ (t % 8)) * 8 + d % 8]);
}
__global__ void rows_of_halfs(const half* a, float* out, size_t n) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = __half2float(a[i]);
}
// The decoder's embedding chunks from rows in the file's layout, by the words of common.cuh.
__global__ void chunk_embedding(const uint8_t* w, const half* scales, uint8_t* out, int V, int Kp, int chunks) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  const int K = chunks * 256;
  if (i >= (size_t)V * K) return;
  const int n = (int)(i / K), k = (int)(i % K), row = n % 16, in = k % 256;
  uint8_t* chunk = out + ((size_t)(n / 16) * chunks + k / 256) * (4096 + 64);
  chunk[in / 64 * 1024 + row / 8 * 512 + ((row % 8) * 4 + in % 64 / 16) * 16 + in % 16] = k < Kp ? w[(size_t)n * Kp + k] : 128;
  if (in % 128 == 0) ((half*)(chunk + 4096))[row % 8 * 4 + in / 128 * 2 + row / 8] = k < Kp ? scales[((size_t)n * Kp + k) / 128] : __float2half(0.f);
}
__global__ void embed(const uint8_t* w, const half* scales, const int* ids, float* out, int T, int D, int Kp) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (size_t)T * D) return;
  const size_t n = (size_t)ids[i / D] * Kp + i % D;
  out[i] = ((int)w[n] - 128) * __half2float(scales[n / 128]);
}

}  // namespace reference
