// Self-attention of the encoder on any card from Ampere on, flash style: softmax(q k^T + bias) v without the scores ever
// leaving the registers. T5 does not divide by sqrt(d); the bias depends on the distance key - query alone and is constant
// from the largest distance on, so a head needs a table of 2 M + 1 numbers, and tiles far from the diagonal one constant.
//
// A block of 4 warps owns 64 queries of one head, 16 a warp, and walks over the keys 64 at a time. Keys and values are
// operand tiles, copied as they are: the values of a step arrive while its scores are computed, the next keys while the
// values are used. D is the head width padded to 64, 128 or 256 (the padding is zero).
#include "common.cuh"
#include "encoder.cuh"

namespace attention {

using namespace encoder;

constexpr int THREADS = 128, KEYS = 64;
constexpr float LOG2E = 1.4426950408889634f;

__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// Byte address of chunk c (8 values) of row r in [D / 64][64][64] operand tiles.
__device__ __forceinline__ uint32_t chunk_address(uint32_t base, int r, int c) {
  return base + (c >> 3) * (TILE_HALFS * 2) + r * (TILE * 2) + (((c & 7) ^ (r & 7)) << 4);
}

template <int BYTES>
__device__ __forceinline__ void copy(uint32_t dst, const half* src) {
#pragma unroll
  for (int i = 0; i < BYTES / 16 / THREADS; i++) {
    const int o = (i * THREADS + threadIdx.x) * 16;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(dst + o), "l"((const uint8_t*)src + o));
  }
  asm volatile("cp.async.commit_group;");
}

template <int N>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

template <int D>
__device__ __forceinline__ void attend(const half* __restrict__ qkv, const float* __restrict__ table, half* __restrict__ out,
                                          int T, int tokenBlocks, int dKv, int M, int outTiles) {
  extern __shared__ __align__(1024) uint8_t shared[];
  constexpr int BYTES = KEYS * D * 2, STEPS = D / 16, OJ = D / 8;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int head = blockIdx.y, heads = gridDim.y, q0 = blockIdx.x * 64 + warp * 16;
  const size_t plane = (size_t)tokenBlocks * TILE * D;
  const half* q = qkv + head * plane + (size_t)blockIdx.x * TILE * D;
  const half* k = qkv + (heads + head) * plane;
  const half* v = qkv + (2 * heads + head) * plane;
  const float* bias = table + (size_t)head * (2 * M + 1) + M;  // by distance, -M to M
  const uint32_t qs = shared_address(shared), ks = qs + BYTES, vs = ks + BYTES;

  float o[OJ][4] = {};
  float top[2] = {-1e30f, -1e30f}, sum[2] = {0.f, 0.f};
  copy<BYTES>(qs, q);
  copy<BYTES>(ks, k);
  const int blocks = (T + KEYS - 1) / KEYS;
  for (int b = 0; b < blocks; b++) {
    copy<BYTES>(vs, v + (size_t)b * KEYS * D);
    wait_copies<1>();
    __syncthreads();
    float s[KEYS / 8][4] = {};
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      uint32_t a[4];
      ldmatrix(a, chunk_address(qs, warp * 16 + (lane & 15), 2 * i + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < KEYS / 8; j += 2) {
        uint32_t c[4];
        ldmatrix(c, chunk_address(ks, j * 8 + (lane & 7) + ((lane >> 4) << 3), 2 * i + ((lane >> 3) & 1)));
        mma16816(s[j], a[0], a[1], a[2], a[3], c[0], c[1]);
        mma16816(s[j + 1], a[0], a[1], a[2], a[3], c[2], c[3]);
      }
    }
    __syncthreads();
    if (b + 1 < blocks) copy<BYTES>(ks, k + (size_t)(b + 1) * KEYS * D);
    else asm volatile("cp.async.commit_group;");

    // bias and mask
    const int near = b * KEYS - q0;  // distance of key 0 from query 0 of this warp
    if (near - 15 >= M || near + KEYS - 1 <= -M) {
      const float far = near > 0 ? bias[M] : bias[-M];
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] += far;
    } else {
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int distance = near + j * 8 + 2 * t + (e & 1) - g - (e >> 1) * 8;
          s[j][e] += __ldg(bias + min(max(distance, -M), M));
        }
    }
    if (b * KEYS + KEYS > T) {
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (b * KEYS + j * 8 + 2 * t + (e & 1) >= T) s[j][e] = -1e30f;
    }
    // online softmax; rows g and g + 8
    uint32_t p[KEYS / 8][2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float m = top[r];
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++) m = fmaxf(m, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
      m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 1));
      m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 2));
      const float shrink = fast_exp2((top[r] - m) * LOG2E), shift = m * LOG2E;
      top[r] = m;
      float l = 0.f;
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++) {
        const float x = fast_exp2(fmaf(s[j][2 * r], LOG2E, -shift)), y = fast_exp2(fmaf(s[j][2 * r + 1], LOG2E, -shift));
        l += x + y;
        const half2 h = __floats2half2_rn(x, y);
        p[j][r] = *reinterpret_cast<const uint32_t*>(&h);
      }
      sum[r] = sum[r] * shrink + l;
#pragma unroll
      for (int j = 0; j < OJ; j++) {
        o[j][2 * r] *= shrink;
        o[j][2 * r + 1] *= shrink;
      }
    }
    wait_copies<1>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < KEYS / 16; i++) {
      const uint32_t a[4] = {p[2 * i][0], p[2 * i][1], p[2 * i + 1][0], p[2 * i + 1][1]};
#pragma unroll
      for (int j = 0; j < OJ; j += 2) {
        uint32_t c[4];
        ldmatrix_transposed(c, chunk_address(vs, i * 16 + (lane & 15), j + (lane >> 4)));
        mma16816(o[j], a[0], a[1], a[2], a[3], c[0], c[1]);
        mma16816(o[j + 1], a[0], a[1], a[2], a[3], c[2], c[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
    const float inv = 1.f / sum[r];
#pragma unroll
    for (int j = 0; j < OJ; j += 4) {
      uint32_t w[4];
#pragma unroll
      for (int i = 0; i < 4; i++) w[i] = pack(o[j + i][2 * r] * inv, o[j + i][2 * r + 1] * inv);
      const uint4 chunk = gather_quad(w[0], w[1], w[2], w[3]);
      const int d = (j + t) * 8;
      if (d < dKv) *reinterpret_cast<uint4*>(out + tile_chunk(q0 + g + 8 * r, head * dKv + d, outTiles)) = chunk;
    }
  }
}

}  // namespace attention

// qkv    F16 operand tiles [3][heads][tokenBlocks][D / 64][64][64]
// table  F32 [heads][2 M + 1]: the bias by key - query, from -M to M; M = relativeMaxDistance
// out    F16 operand tiles [.., heads * dKv padded to 128], outTiles = that / 64
// Launch: grid (T / 64 rounded up, heads), block 128, shared 3 * 128 D bytes.
#define ENCODER_ATTENTION(D)                                                                                                   \
  extern "C" __global__ void __launch_bounds__(attention::THREADS, 2)                                                                     \
      encoder_attention_##D(const half* qkv, const float* table, half* out, int T, int tokenBlocks, int dKv, int M, int outTiles) { \
    attention::attend<D>(qkv, table, out, T, tokenBlocks, dKv, M, outTiles);                                                           \
  }
ENCODER_ATTENTION(64)
ENCODER_ATTENTION(128)
ENCODER_ATTENTION(256)
