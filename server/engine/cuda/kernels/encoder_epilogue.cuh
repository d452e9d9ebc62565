// What happens to a product's accumulators: five epilogues shared by the portable and the Hopper product.
//
// Each is given the accumulators of one warp, 16 rows (output features) x 8 NJ tokens, in the layout of m16n8k16:
// acc[j] = (row g, token 8j + 2t), (g, 8j + 2t + 1), (g + 8, 8j + 2t), (g + 8, 8j + 2t + 1). fp16 outputs are wanted with features
// contiguous, so 8x8 blocks are transposed on the way: by `Registers` with movmatrix and shuffles on any card, by `Shared`
// through a kilobyte of shared memory a warp on Hopper, whose stmatrix transposes.
#pragma once
#include "encoder.cuh"

namespace encoder {

// Both give sink(token, feature, chunk): 8 features (`feature` 0 or 8, counted from the warp's row) of one token (counted
// from the warp's first) as 16 bytes. HALVES = 1 leaves out rows 8 to 15.
struct Registers {
  template <int HALVES, int NJ, class Sink>
  __device__ __forceinline__ void each(float (&acc)[NJ][4], const Sink& sink) const {
    const int lane = threadIdx.x & 31, token = 8 * (lane & 3) + (lane >> 2);
#pragma unroll
    for (int high = 0; high < HALVES; high++)
#pragma unroll
      for (int j = 0; j < NJ; j += 4) {
        uint32_t w[4];
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = transpose8(pack(acc[j + i][2 * high], acc[j + i][2 * high + 1]));
        sink(8 * j + token, 8 * high, gather_quad(w[0], w[1], w[2], w[3]));
      }
  }
};

struct Shared {
  static constexpr int BYTES = 1024;  // a warp
  uint32_t base;                      // of this warp
  template <int HALVES, int NJ, class Sink>
  __device__ __forceinline__ void each(float (&acc)[NJ][4], const Sink& sink) const {
#if __CUDA_ARCH__ >= 900
    const int lane = threadIdx.x & 31;
    constexpr int STEP = 4 / HALVES;  // blocks of 8 tokens at a time, 512 bytes
    // stmatrix: lane i gives the address of row i % 8 of matrix i / 8; lanes read in the order of memory
    const int matrix = lane >> 3, row = lane & 7;
    const int to = HALVES == 1 ? lane * 16 : (((matrix >> 1) * 8 + row) * 2 + (matrix & 1)) * 16;
#pragma unroll
    for (int j = 0; j < NJ; j += STEP) {
      const uint32_t buffer = base + (j / STEP & 1) * 512;
      uint32_t w[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int block = j + i / HALVES, high = i % HALVES;
        w[i] = pack(acc[block][2 * high], acc[block][2 * high + 1]);
      }
      asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(buffer + to), "r"(w[0]), "r"(w[1]),
                   "r"(w[2]), "r"(w[3]) : "memory");
      __syncwarp();
      uint4 v;
      asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(buffer + lane * 16) : "memory");
      sink(8 * j + lane / HALVES, 8 * (lane % HALVES), v);
    }
    __syncwarp();
#endif
  }
};

__device__ __forceinline__ void store16(half* to, const uint4& v) { *reinterpret_cast<uint4*>(to) = v; }

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
  template <int NJ, class Stage>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4], const Stage& stage, int) const {
    const size_t plane = (size_t)tokenBlocks * dTiles * TILE_HALFS;
    // where each half of the 16 rows goes: the plane of its head, and d in it; a head's width is a multiple of 8
    const int low = row / dKv, high = (row + 8) / dKv, lowD = row % dKv, highD = (row + 8) % dKv;
    stage.template each<2>(acc, [&](int t, int feature, const uint4& v) {
      if (row + feature < 3 * inner) store16(out + (feature ? high : low) * plane + tile_chunk(token + t, feature ? highD : lowD, dTiles), v);
    });
  }
};

// x += scale * product on the residual fragments. When K is cut into several parts, each writes its unscaled sum to
// parts + part * stride instead, and the norm that follows adds them in order: the same result in every run.
struct Add {
  float4* x;
  float4* parts;
  long long stride;  // of parts, in float4
  int groups;        // features / 16
  float scale;
  int split;
  template <int NJ, class Stage>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4], const Stage&, int part) const {
    const size_t at = ((size_t)(token >> 3) * groups + (row >> 4)) * 32 + (threadIdx.x & 31), step = (size_t)groups * 32;
    if (split > 1) {
      float4* p = parts + part * stride + at;
#pragma unroll
      for (int j = 0; j < NJ; j++) p[j * step] = make_float4(acc[j][0], acc[j][1], acc[j][2], acc[j][3]);
      return;
    }
    float4* p = x + at;
#if __CUDA_ARCH__ >= 900
    // added in the L2 cache, one addition an element and launch, so in no particular order and yet always the same
#pragma unroll
    for (int j = 0; j < NJ; j++)
      asm volatile("red.global.add.v4.f32 [%0], {%1,%2,%3,%4};" ::"l"(p + j * step), "f"(acc[j][0] * scale), "f"(acc[j][1] * scale),
                   "f"(acc[j][2] * scale), "f"(acc[j][3] * scale) : "memory");
#else
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
#endif
  }
};

// h = act(gate) * up * H_SCALE into operand tiles; rows alternate 8 of the gate, 8 of the up projection.
struct Gated {
  half* out;
  int kTiles, kind;
  template <int NJ, class Stage>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4], const Stage& stage, int) const {
#pragma unroll
    for (int j = 0; j < NJ; j++) {
      acc[j][0] = activate(acc[j][0], kind) * acc[j][2] * H_SCALE;
      acc[j][1] = activate(acc[j][1], kind) * acc[j][3] * H_SCALE;
    }
    stage.template each<1>(acc, [&](int t, int, const uint4& v) { store16(out + tile_chunk(token + t, row >> 1, kTiles), v); });
  }
};

// h = act(product) * H_SCALE into operand tiles.
struct Act {
  half* out;
  int kTiles, kind;
  template <int NJ, class Stage>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4], const Stage& stage, int) const {
#pragma unroll
    for (int j = 0; j < NJ; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) acc[j][i] = activate(acc[j][i], kind) * H_SCALE;
    }
    stage.template each<2>(acc, [&](int t, int feature, const uint4& v) { store16(out + tile_chunk(token + t, row + feature, kTiles), v); });
  }
};

// Cross-attention keys and values of one decoder layer: fused rows [k, v][heads * dKv] into two F16 arrays [tokens, inner].
struct Cross {
  half *keys, *values;
  int inner, tokens;
  template <int NJ, class Stage>
  __device__ __forceinline__ void operator()(int row, int token, float (&acc)[NJ][4], const Stage& stage, int) const {
    stage.template each<2>(acc, [&](int t, int feature, const uint4& v) {
      const int r = row + feature;
      half* base = r < inner ? keys + r : values + (r - inner);
      if (r < 2 * inner && token + t < tokens) store16(base + (size_t)(token + t) * inner, v);
    });
  }
};

}  // namespace encoder
