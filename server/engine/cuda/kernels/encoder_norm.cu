// The token-wise kernels around the encoder's products: the embedding gather, and the RMS norm that turns the fp32
// residual stream into a product's fp16 operand (T5's norm: no mean, no bias).
//
// One block owns 8 tokens, which are one contiguous stretch of the residual (encoder.cuh: residual fragments). A warp
// takes two blocks of 16 features at a time; a lane holds 2 tokens x 4 features of them. The norm reads the stretch twice,
// the second time mostly from L1 (8 tokens x 4096 x 4 bytes = 128 KB), transposes in registers and stores 16-byte chunks.
#include "common.cuh"
#include "encoder.cuh"

namespace tokenwise {

using namespace encoder;

constexpr int THREADS = 512, WARPS = THREADS / 32;

// The 1 / rms of this lane's two tokens.
__device__ __forceinline__ float2 inverse_rms(const float4* __restrict__ row, int groups, int D, float eps) {
  __shared__ float2 part[WARPS][4];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float a = 0.f, b = 0.f;
  for (int f = warp; f < groups; f += WARPS) {
    const float4 v = row[f * 32 + lane];
    a += v.x * v.x + v.z * v.z;
    b += v.y * v.y + v.w * v.w;
  }
#pragma unroll
  for (int m = 4; m < 32; m <<= 1) {
    a += __shfl_xor_sync(0xffffffffu, a, m);
    b += __shfl_xor_sync(0xffffffffu, b, m);
  }
  if (lane < 4) part[warp][lane] = make_float2(a, b);
  __syncthreads();
  a = b = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    a += part[w][lane & 3].x;
    b += part[w][lane & 3].y;
  }
  return make_float2(rsqrtf(a / D + eps), rsqrtf(b / D + eps));
}

template <bool FINAL>
__device__ __forceinline__ void norm(const float4* __restrict__ x, const float* __restrict__ gamma, half* __restrict__ out,
                                     float* __restrict__ hidden, int T, int D, float eps) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int groups = (D + UNIT - 1) / UNIT * (UNIT / 16), kTiles = groups / 4;
  const float4* row = x + (size_t)blockIdx.x * groups * 32;
  const float2 inv = inverse_rms(row, groups, D, eps);
  const int token = blockIdx.x * 8;
  for (int f = warp * 2; f < groups; f += WARPS * 2) {
    uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float4 v = row[(f + i) * 32 + lane];
      const int low = (f + i) * 16 + g, high = low + 8;
      const float gl = low < D ? gamma[low] : 0.f, gh = high < D ? gamma[high] : 0.f;
      const float4 y = make_float4(v.x * inv.x * gl, v.y * inv.y * gl, v.z * inv.x * gh, v.w * inv.y * gh);
      w[2 * i] = transpose8(pack(y.x, y.y));
      w[2 * i + 1] = transpose8(pack(y.z, y.w));
      if (FINAL) {
        const int tok = token + 2 * t;
        if (tok < T && low < D) hidden[(size_t)tok * D + low] = y.x;
        if (tok + 1 < T && low < D) hidden[(size_t)(tok + 1) * D + low] = y.y;
        if (tok < T && high < D) hidden[(size_t)tok * D + high] = y.z;
        if (tok + 1 < T && high < D) hidden[(size_t)(tok + 1) * D + high] = y.w;
      }
    }
    const uint4 chunk = gather_quad(w[0], w[1], w[2], w[3]);
    *reinterpret_cast<uint4*>(out + tile_chunk(token + g, f * 16 + t * 8, kTiles)) = chunk;
  }
}

}  // namespace tokenwise

// x       F32 residual fragments [tokens / 8][groups][32][4], groups = (D padded to 128) / 16; the padding becomes 0
// table   the embedding in the decoder's chunks (common.cuh), `chunks` a tile
// ids     I32 [T]; tokens T and later become 0
//
// Launch: grid (padded tokens / 8), block 512.
extern "C" __global__ void __launch_bounds__(tokenwise::THREADS)
    encoder_embed(float* __restrict__ x, const uint8_t* __restrict__ table, const int* __restrict__ ids, int T, int groups,
                  int chunks) {
  float* row = x + (size_t)blockIdx.x * groups * 128;
  for (int i = threadIdx.x; i < 8 * 2 * groups; i += tokenwise::THREADS) {
    const int in = i & 7, eight = i >> 3, token = blockIdx.x * 8 + in;
    float v[8] = {};
    if (token < T) embedding8(table, chunks, ids[token], eight * 8, v);
    float* p = row + (eight >> 1) * 128 + (in >> 1) * 4 + (eight & 1) * 2 + (in & 1);
#pragma unroll
    for (int g = 0; g < 8; g++) p[g * 16] = v[g];
  }
}

// x F32 residual fragments; gamma F32 [D]; out F16 operand tiles [.., D padded to 128].
// Launch: grid (tokens padded to 64, / 8), block 512.
extern "C" __global__ void __launch_bounds__(tokenwise::THREADS)
    encoder_norm(const float4* __restrict__ x, const float* __restrict__ gamma, half* __restrict__ out, int D, float eps) {
  tokenwise::norm<false>(x, gamma, out, nullptr, 0, D, eps);
}

// As encoder_norm, and hidden F32 [T, D] row-major: the encoder's output.
extern "C" __global__ void __launch_bounds__(tokenwise::THREADS)
    encoder_final_norm(const float4* __restrict__ x, const float* __restrict__ gamma, half* __restrict__ out,
                       float* __restrict__ hidden, int T, int D, float eps) {
  tokenwise::norm<true>(x, gamma, out, hidden, T, D, eps);
}
