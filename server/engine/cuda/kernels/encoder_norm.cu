// The token-wise kernels around the encoder's products: the embedding gather, and the RMS norm that turns the fp32
// residual stream into a product's fp16 operand (T5's norm: no mean, no bias).
//
// 8 tokens are one contiguous stretch of the residual (encoder.cuh: residual fragments), and one block's work; on Hopper
// also that of a cluster of 8 small blocks which exchange their sums of squares: faster for short prompts, which leave most of
// the card idle, and slower for long ones. A warp takes two blocks of 16 features at a time; a lane holds 2 tokens x 4 features of each. The norm keeps what it read
// in registers (up to 4096 features; wider models read the rest twice), transposes there and stores 16-byte chunks. Where
// the product before it was cut along K (`split` > 1), it first adds the parts to the residual, in order.
#include "common.cuh"
#include "encoder.cuh"
#include "encoder_barrier.cuh"

namespace tokenwise {

using namespace encoder;

// Blocks that share 8 tokens, their warps, and the pairs of feature blocks that a warp keeps in registers.
template <int BLOCKS_, int WARPS_, int KEPT_>
struct Team {
  static constexpr int BLOCKS = BLOCKS_, WARPS = WARPS_, KEPT = KEPT_, ALL = BLOCKS * WARPS;
};
using Alone = Team<1, 32, 4>;
using Cluster = Team<8, 8, 2>;
constexpr int EMBED_THREADS = 512;

struct Residual {
  float4* x;
  const float4* parts;
  long long stride;  // of parts, in float4
  int split;
  float scale;
  // Entry i of the stretch after the last product.
  __device__ __forceinline__ float4 settle(size_t i) const {
    float4 v = x[i];
    if (split > 1) {
      float4 s = parts[i];
      for (int p = 1; p < split; p++) {
        const float4 q = parts[p * stride + i];
        s = make_float4(s.x + q.x, s.y + q.y, s.z + q.z, s.w + q.w);
      }
      v = make_float4(fmaf(s.x, scale, v.x), fmaf(s.y, scale, v.y), fmaf(s.z, scale, v.z), fmaf(s.w, scale, v.w));
      x[i] = v;
    }
    return v;
  }
};

// The 1 / rms of this lane's two tokens, from its share of their sums of squares.
template <class T>
__device__ __forceinline__ float2 inverse_rms(float a, float b, int D, float eps) {
  __shared__ float2 part[T::WARPS][4];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int m = 4; m < 32; m <<= 1) {
    a += __shfl_xor_sync(0xffffffffu, a, m);
    b += __shfl_xor_sync(0xffffffffu, b, m);
  }
  if (lane < 4) part[warp][lane] = make_float2(a, b);
  a = b = 0.f;
  if (T::BLOCKS == 1) {
    __syncthreads();
#pragma unroll
    for (int w = 0; w < T::WARPS; w++) {
      a += part[w][lane & 3].x;
      b += part[w][lane & 3].y;
    }
  } else {
#if __CUDA_ARCH__ >= 900
    cluster_sync();
    // lane 4 r + t adds up what block r has for tokens 2t and 2t + 1; then the blocks' sums are added
    uint32_t remote;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(&part[0][lane & 3])), "r"(lane >> 2));
#pragma unroll
    for (int w = 0; w < T::WARPS; w++) {
      float x, y;
      asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(x), "=f"(y) : "r"(remote + w * (int)sizeof(part[0])) : "memory");
      a += x;
      b += y;
    }
#pragma unroll
    for (int m = 4; m < 32; m <<= 1) {
      a += __shfl_xor_sync(0xffffffffu, a, m);
      b += __shfl_xor_sync(0xffffffffu, b, m);
    }
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");  // has read; waited for before leaving
#endif
  }
  return make_float2(rsqrtf(a / D + eps), rsqrtf(b / D + eps));
}

template <class T, bool FINAL>
__device__ __forceinline__ void norm(const Residual& residual, const float* __restrict__ gamma, half* __restrict__ out,
                                     float* __restrict__ hidden, int tokens, int D, float eps) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, team = blockIdx.x / T::BLOCKS;
  const int warp = blockIdx.x % T::BLOCKS * T::WARPS + threadIdx.x / 32;
  const int groups = (D + UNIT - 1) / UNIT * (UNIT / 16), kTiles = groups / 4, token = team * 8;
  const size_t row = (size_t)team * groups * 32 + lane;
  float4 kept[T::KEPT][2];
  float a = 0.f, b = 0.f;
  auto square = [&](const float4& v) {
    a += v.x * v.x + v.z * v.z;
    b += v.y * v.y + v.w * v.w;
  };
#pragma unroll
  for (int i = 0; i < T::KEPT; i++) {
    const int f = (i * T::ALL + warp) * 2;
    kept[i][0] = kept[i][1] = make_float4(0.f, 0.f, 0.f, 0.f);
    if (f < groups) {
      kept[i][0] = residual.settle(row + f * 32);
      kept[i][1] = residual.settle(row + (f + 1) * 32);
    }
  }
#pragma unroll
  for (int i = 0; i < T::KEPT; i++) {
    square(kept[i][0]);
    square(kept[i][1]);
  }
  for (int f = (T::KEPT * T::ALL + warp) * 2; f < groups; f += T::ALL * 2) {
    square(residual.settle(row + f * 32));
    square(residual.settle(row + (f + 1) * 32));
  }
  const float2 inv = inverse_rms<T>(a, b, D, eps);
  auto write = [&](int f, const float4& first, const float4& second) {
    uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float4& v = i ? second : first;
      const int low = (f + i) * 16 + g, high = low + 8;
      const float gl = low < D ? gamma[low] : 0.f, gh = high < D ? gamma[high] : 0.f;
      const float4 y = make_float4(v.x * inv.x * gl, v.y * inv.y * gl, v.z * inv.x * gh, v.w * inv.y * gh);
      w[2 * i] = transpose8(pack(y.x, y.y));
      w[2 * i + 1] = transpose8(pack(y.z, y.w));
      if (FINAL) {
        const int tok = token + 2 * t;
        if (tok < tokens && low < D) hidden[(size_t)tok * D + low] = y.x;
        if (tok + 1 < tokens && low < D) hidden[(size_t)(tok + 1) * D + low] = y.y;
        if (tok < tokens && high < D) hidden[(size_t)tok * D + high] = y.z;
        if (tok + 1 < tokens && high < D) hidden[(size_t)(tok + 1) * D + high] = y.w;
      }
    }
    const uint4 chunk = gather_quad(w[0], w[1], w[2], w[3]);
    *reinterpret_cast<uint4*>(out + tile_chunk(token + g, f * 16 + t * 8, kTiles)) = chunk;
  };
#pragma unroll
  for (int i = 0; i < T::KEPT; i++) {
    const int f = (i * T::ALL + warp) * 2;
    if (f < groups) write(f, kept[i][0], kept[i][1]);
  }
  for (int f = (T::KEPT * T::ALL + warp) * 2; f < groups; f += T::ALL * 2) write(f, residual.x[row + f * 32], residual.x[row + (f + 1) * 32]);
#if __CUDA_ARCH__ >= 900
  if (T::BLOCKS > 1) asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

}  // namespace tokenwise

// x       F32 residual fragments [tokens / 8][groups][32][4], groups = (D padded to 128) / 16; the padding becomes 0
// table   the embedding in the decoder's chunks (common.cuh), `chunks` a tile
// ids     I32 [T]; tokens T and later become 0
//
// Launch: grid (padded tokens / 8), block 512.
extern "C" __global__ void __launch_bounds__(tokenwise::EMBED_THREADS)
    encoder_embed(float* __restrict__ x, const uint8_t* __restrict__ table, const int* __restrict__ ids, int T, int groups,
                  int chunks) {
  float* row = x + (size_t)blockIdx.x * groups * 128;
  for (int i = threadIdx.x; i < 8 * 2 * groups; i += tokenwise::EMBED_THREADS) {
    const int in = i & 7, eight = i >> 3, token = blockIdx.x * 8 + in;
    float v[8] = {};
    if (token < T) embedding8(table, chunks, ids[token], eight * 8, v);
    float* p = row + (eight >> 1) * 128 + (in >> 1) * 4 + (eight & 1) * 2 + (in & 1);
#pragma unroll
    for (int g = 0; g < 8; g++) p[g * 16] = v[g];
  }
}

// x F32 residual fragments; parts F32 [split][stride][4] in the same order, if split > 1; gamma F32 [D]; out F16 operand
// tiles [.., D padded to 128]. The final norm also writes hidden F32 [T, D] row-major: the encoder's output.
// Launch: grid (tokens padded to 64, / 8), block 1024; the Hopper forms (_h): grid (tokens padded to 64), block 256.
#define ENCODER_NORM(SUFFIX, TEAM, CLUSTER)                                                                                      \
  extern "C" __global__ void CLUSTER __launch_bounds__(tokenwise::TEAM::WARPS * 32)                                              \
      encoder_norm##SUFFIX(float4* x, const float4* parts, long long stride, int split, float scale,                             \
                           const float* __restrict__ gamma, half* __restrict__ out, int D, float eps) {                          \
    tokenwise::norm<tokenwise::TEAM, false>(tokenwise::Residual{x, parts, stride, split, scale}, gamma, out, nullptr, 0, D, eps); \
  }                                                                                                                              \
  extern "C" __global__ void CLUSTER __launch_bounds__(tokenwise::TEAM::WARPS * 32)                                              \
      encoder_final_norm##SUFFIX(float4* x, const float4* parts, long long stride, int split, float scale,                       \
                                 const float* __restrict__ gamma, half* __restrict__ out, int D, float eps,                      \
                                 float* __restrict__ hidden, int T) {                                                            \
    tokenwise::norm<tokenwise::TEAM, true>(tokenwise::Residual{x, parts, stride, split, scale}, gamma, out, hidden, T, D, eps);  \
  }
ENCODER_NORM(, Alone, )
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
ENCODER_NORM(_h, Cluster, __cluster_dims__(8, 1, 1))
#endif
