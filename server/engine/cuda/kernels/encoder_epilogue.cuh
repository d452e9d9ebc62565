// What happens to a product's accumulators: five epilogues shared by the portable and the Hopper product.
//
// Each is given the accumulators of one warp, 16 rows (output features) x 8 NJ tokens, in the layout of m16n8k16:
// acc[j] = (row g, token 8j + 2t), (g, 8j + 2t + 1), (g + 8, 8j + 2t), (g + 8, 8j + 2t + 1). fp16 outputs are wanted with features
// contiguous, so 8x8 blocks are transposed in registers and four lanes trade words until each holds 16 bytes of one token.
#pragma once
#include "encoder.cuh"

namespace encoder {

// The 8 features of row group `high` (0: rows 0-7, 1: rows 8-15) of the 32 tokens from 8 j on: this lane gets those of token
// 8 (j + t) + g. `value(x)` is applied before rounding.
template <int NJ>
__device__ __forceinline__ uint4 features8(float (&acc)[NJ][4], int j, int high) {
  uint32_t w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) w[i] = transpose8(pack(acc[j + i][2 * high], acc[j + i][2 * high + 1]));
  return gather_quad(w[0], w[1], w[2], w[3]);
}

__device__ __forceinline__ float activate(float x, int kind) {
  if (kind == 0) return fmaxf(x, 0.f);
  // silu(x) = x sigmoid(x); gelu_new(x) = x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)
  const float u = kind == 1 ? 1.5957691216057308f * (x + 0.044715f * x * x * x) : x;
  return __fdividef(x, 1.f + __expf(-u));
}

// q, k, v: fused rows [3][heads][dKv] into F16 operand tiles [3][heads][tokenBlocks][dTiles][64][64].
struct Qkv {
  half* out;
  int inner, dKv, dTiles, tokenBlocks;
  template <int NJ>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int high = 0; high < 2; high++) {
      const int r = row + 8 * high;
      if (r >= 3 * inner) return;
      const int part = r / inner, head = (r % inner) / dKv, d = r % inner % dKv, heads = inner / dKv;
      half* base = out + (size_t)(part * heads + head) * tokenBlocks * dTiles * TILE_HALFS;
#pragma unroll
      for (int j = 0; j < NJ; j += 4) {
        const uint4 v = features8(acc, j, high);
        *reinterpret_cast<uint4*>(base + tile_chunk(token + 8 * (j + t) + g, d, dTiles)) = v;
      }
    }
  }
};

// x += scale * product, on the residual fragments.
struct Add {
  float4* x;
  int groups;  // features / 16
  float scale;
  template <int NJ>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4]) const {
    float4* p = x + ((size_t)(token >> 3) * groups + (row >> 4)) * 32 + (threadIdx.x & 31);
    const size_t step = (size_t)groups * 32;
    constexpr int BATCH = NJ < 8 ? NJ : 8;
#pragma unroll
    for (int j = 0; j < NJ; j += BATCH) {
      float4 v[BATCH];
#pragma unroll
      for (int i = 0; i < BATCH; i++) v[i] = p[(j + i) * step];
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        float(&a)[4] = acc[j + i];
        p[(j + i) * step] = make_float4(fmaf(a[0], scale, v[i].x), fmaf(a[1], scale, v[i].y), fmaf(a[2], scale, v[i].z),
                                        fmaf(a[3], scale, v[i].w));
      }
    }
  }
};

// h = act(gate) * up * H_SCALE into operand tiles; rows alternate 8 of the gate, 8 of the up projection.
struct Gated {
  half* out;
  int kTiles, kind;
  template <int NJ>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int j = 0; j < NJ; j++) {
      acc[j][0] = activate(acc[j][0], kind) * acc[j][2] * H_SCALE;
      acc[j][1] = activate(acc[j][1], kind) * acc[j][3] * H_SCALE;
    }
#pragma unroll
    for (int j = 0; j < NJ; j += 4) {
      const uint4 v = features8(acc, j, 0);
      *reinterpret_cast<uint4*>(out + tile_chunk(token + 8 * (j + t) + g, row >> 1, kTiles)) = v;
    }
  }
};

// h = act(product) * H_SCALE into operand tiles.
struct Act {
  half* out;
  int kTiles, kind;
  template <int NJ>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int j = 0; j < NJ; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) acc[j][i] = activate(acc[j][i], kind) * H_SCALE;
    }
#pragma unroll
    for (int high = 0; high < 2; high++) {
#pragma unroll
      for (int j = 0; j < NJ; j += 4) {
        const uint4 v = features8(acc, j, high);
        *reinterpret_cast<uint4*>(out + tile_chunk(token + 8 * (j + t) + g, row + 8 * high, kTiles)) = v;
      }
    }
  }
};

// Cross-attention keys and values of one decoder layer: fused rows [k, v][heads * dKv] into two F16 arrays [tokens, inner].
struct Cross {
  half *keys, *values;
  int inner, tokens;
  template <int NJ>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int high = 0; high < 2; high++) {
      const int r = row + 8 * high;
      if (r >= 2 * inner) return;
      half* base = r < inner ? keys + r : values + (r - inner);
#pragma unroll
      for (int j = 0; j < NJ; j += 4) {
        const uint4 v = features8(acc, j, high);
        const int tok = token + 8 * (j + t) + g;
        if (tok < tokens) *reinterpret_cast<uint4*>(base + (size_t)tok * inner) = v;
      }
    }
  }
};

}  // namespace encoder
