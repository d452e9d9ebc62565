// A plain decoder in float64, one warp an output row, on weights as they lie in a weight file. Slow and obvious.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

namespace reference {

__device__ inline double warp_sum(double v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}

// y[c][n] (+)= sum_k W[n][k] x[c][k]
__global__ void product(const uint8_t* w, const half* scales, int N, int K, int Kp, const double* x, int xs, double* y, int ys,
                        int columns, int add) {
  const int n = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (n >= N) return;
  for (int c = 0; c < columns; c++) {
    double a = 0;
    for (int k = lane; k < K; k += 32)
      a += ((int)w[(size_t)n * Kp + k] - 128) * (double)__half2float(scales[(size_t)n * (Kp / 128) + k / 128]) * x[(size_t)c * xs + k];
    a = warp_sum(a);
    if (lane == 0) y[(size_t)c * ys + n] = add ? y[(size_t)c * ys + n] + a : a;
  }
}

__global__ void embed(const uint8_t* w, const half* scales, int K, int Kp, const int* tokens, double* x, int xs) {
  const int c = blockIdx.x;
  for (int k = threadIdx.x; k < K; k += blockDim.x)
    x[(size_t)c * xs + k] = ((int)w[(size_t)tokens[c] * Kp + k] - 128) * (double)__half2float(scales[(size_t)tokens[c] * (Kp / 128) + k / 128]);
}

__global__ void norm(const double* x, const float* g, double* out, int D, int xs, double epsilon) {
  const int c = blockIdx.x;
  __shared__ double parts[32];
  double s = 0;
  for (int i = threadIdx.x; i < D; i += 1024) s += x[(size_t)c * xs + i] * x[(size_t)c * xs + i];
  s = warp_sum(s);
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = s;
  __syncthreads();
  s = 0;
  for (int i = 0; i < 32; i++) s += parts[i];
  const double inverse = 1 / sqrt(s / D + epsilon);
  for (int i = threadIdx.x; i < D; i += 1024) out[(size_t)c * xs + i] = x[(size_t)c * xs + i] * inverse * g[i];
}

// One block a (column, head). keys/values: [rows][capacity][heads * dKv], or fp16 [tokens][heads * dKv] for cross-attention.
template <typename T>
__global__ void attention(const double* q, int qs, const T* keys, const T* values, int heads, int dKv, size_t rowStride, int perRow,
                          int length, int fixedKeys, const float* bias, int maxDistance, double* out, int os) {
  extern __shared__ double scores[];
  const int c = blockIdx.x / heads, h = blockIdx.x % heads, row = c / perRow, position = length + c % perRow;
  const int n = fixedKeys ? fixedKeys : position + 1, inner = heads * dKv;
  const T* K = keys + (fixedKeys ? 0 : row * rowStride);
  const T* V = values + (fixedKeys ? 0 : row * rowStride);
  for (int k = threadIdx.x; k < n; k += blockDim.x) {
    double s = 0;
    for (int d = 0; d < dKv; d++) s += q[(size_t)c * qs + h * dKv + d] * (double)(float)K[(size_t)k * inner + h * dKv + d];
    if (bias) s += bias[h * (maxDistance + 1) + min(position - k, maxDistance)];
    scores[k] = s;
  }
  __syncthreads();
  double m = -1e300, l = 0;
  for (int k = 0; k < n; k++) m = fmax(m, scores[k]);
  for (int k = 0; k < n; k++) l += exp(scores[k] - m);
  for (int d = threadIdx.x; d < dKv; d += blockDim.x) {
    double a = 0;
    for (int k = 0; k < n; k++) a += exp(scores[k] - m) * (double)(float)V[(size_t)k * inner + h * dKv + d];
    out[(size_t)c * os + h * dKv + d] = a / l;
  }
}

__global__ void store_cache(const double* qkv, int stride, int offset, double* cache, int inner, size_t rowStride, int perRow, int length) {
  const int c = blockIdx.x, row = c / perRow, position = length + c % perRow;
  for (int i = threadIdx.x; i < inner; i += blockDim.x) cache[row * rowStride + (size_t)position * inner + i] = qkv[(size_t)c * stride + offset + i];
}

__device__ inline double act(double v, int kind) {
  if (kind == 0) return v > 0 ? v : 0;
  if (kind == 2) return v / (1 + exp(-v));
  return 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
}

__global__ void activate(double* gate, const double* up, int n, int stride, int kind) {
  const int c = blockIdx.x;
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const double a = act(gate[(size_t)c * stride + i], kind);
    gate[(size_t)c * stride + i] = up ? a * up[(size_t)c * stride + i] : a;
  }
}

__global__ void permute(const double* from, double* to, const int* parents, size_t rowElements) {
  const size_t row = blockIdx.y;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < rowElements; i += (size_t)gridDim.x * blockDim.x)
    to[row * rowElements + i] = from[parents[row] * rowElements + i];
}

}  // namespace reference
