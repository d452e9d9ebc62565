// The encoder's products on any card from Ampere on: out[n, t] = sum_k W[n, k] x[t, k], int8 weights, fp16 activations, fp32 sums.
//
// A block of 8 warps computes 128 rows x NT tokens, the warps 4 (rows) x 2 (tokens). Weight units and operand tiles of 128 k
// come through a ring of `stages` stages with cp.async; weights are dequantized between shared memory and mma.sync.
// Two stages with NT = 128 take 98,816 bytes, which every card from sm_80 on grants; sm_80 and sm_90 have room for three.
#include "common.cuh"
#include "encoder_dequant.cuh"
#include "encoder_epilogue.cuh"

namespace portable {

using namespace encoder;

constexpr int THREADS = 256;

__device__ __forceinline__ void copy16(uint32_t dst, const void* src) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(dst), "l"(src));
}

// w: weight units [rowTiles][kUnits]; x: operand tiles [tokens / 64][2 kUnits]. Grid (token tiles, row tiles, parts of K).
template <int NT, class Epilogue>
__device__ __forceinline__ void product(const uint8_t* __restrict__ w, const half* __restrict__ x, int kUnits, int stages,
                                        const Epilogue& epilogue, int split = 1) {
  extern __shared__ __align__(1024) uint8_t ring[];
  constexpr int X_BYTES = NT * UNIT * 2, STAGE = UNIT_BYTES + X_BYTES, NJ = NT / 16;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2;
  const int warpM = warp & 3, warpN = warp >> 2;
  const uint8_t* wTile = w + (size_t)blockIdx.y * kUnits * UNIT_BYTES;
  const half* xTile = x + (size_t)blockIdx.x * (NT / TILE) * (2 * kUnits) * TILE_HALFS;
  const uint32_t base = shared_address(ring);

  // Operand tiles first in a stage: [NT / 64][2][64][64], then the unit.
  auto load = [&](int kb) {
    const uint32_t stage = base + (kb % stages) * STAGE;
#pragma unroll
    for (int b = 0; b < NT / TILE; b++) {
      const uint8_t* src = (const uint8_t*)(xTile + ((size_t)b * 2 * kUnits + 2 * kb) * TILE_HALFS);
      for (int i = threadIdx.x; i < 4 * TILE_HALFS / 16; i += THREADS) copy16(stage + b * 4 * TILE_HALFS + i * 16, src + i * 16);
    }
    const uint8_t* src = wTile + (size_t)kb * UNIT_BYTES;
    for (int i = threadIdx.x; i < UNIT_BYTES / 16; i += THREADS) copy16(stage + X_BYTES + i * 16, src + i * 16);
  };

  const int first = kUnits * blockIdx.z / split, end = kUnits * (blockIdx.z + 1) / split;
  float acc[2][NJ][4] = {};
  for (int kb = first; kb < first + stages - 1; kb++) {
    if (kb < end) load(kb);
    asm volatile("cp.async.commit_group;");
  }
  for (int kb = first; kb < end; kb++) {
    if (stages == 2) asm volatile("cp.async.wait_group 0;" ::: "memory");
    else asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    if (kb + stages - 1 < end) load(kb + stages - 1);
    asm volatile("cp.async.commit_group;");
    const uint32_t xs = base + (kb % stages) * STAGE;
    const uint8_t* unit = ring + (kb % stages) * STAGE + X_BYTES;
    const half* scale = (const half*)(unit + UNIT_WEIGHTS) + warpM * 32 + g;
    half2 sc[4];
#pragma unroll
    for (int i = 0; i < 4; i++) sc[i] = __half2half2(scale[i * 8]);
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
      uint4 q[2];
#pragma unroll
      for (int m = 0; m < 2; m++) q[m] = *(const uint4*)(unit + (warpM * 2 + m) * 2048 + pair * 512 + lane * 16);
#pragma unroll
      for (int half_ = 0; half_ < 2; half_++) {
        const int step = pair * 2 + half_;
        uint32_t a[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++)
          dequantize(a[m], half_ ? q[m].z : q[m].x, half_ ? q[m].w : q[m].y, sc[2 * m], sc[2 * m + 1]);
#pragma unroll
        for (int j = 0; j < NJ; j += 2) {
          const int token = warpN * (NT / 2) + j * 8 + (lane & 7) + ((lane >> 4) << 3);
          const int chunk = 2 * (step & 3) + ((lane >> 3) & 1);
          const uint32_t address = xs + (((token >> 6) * 2 + (step >> 2)) * TILE_HALFS + (token & 63) * TILE) * 2 + ((chunk ^ (token & 7)) << 4);
          uint32_t b[4];
          asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                       : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]) : "r"(address) : "memory");
#pragma unroll
          for (int m = 0; m < 2; m++) {
            mma16816(acc[m][j], a[m][0], a[m][1], a[m][2], a[m][3], b[0], b[1]);
            mma16816(acc[m][j + 1], a[m][0], a[m][1], a[m][2], a[m][3], b[2], b[3]);
          }
        }
      }
    }
  }
#pragma unroll
  for (int m = 0; m < 2; m++)
    epilogue(blockIdx.y * UNIT + warpM * 32 + m * 16, blockIdx.x * NT + warpN * (NT / 2), acc[m], Registers{}, blockIdx.z);
}

}  // namespace portable

// Launch: grid (token tiles of NT, row tiles of 128; for add also the parts of K), block 256, shared stages * (16,640 + 256 NT), stages 2 or 3.
// The leading four parameters are the same for all: weight units, operand tiles, K / 128, stages.
#define ENCODER_PRODUCTS(NT)                                                                                              \
  extern "C" __global__ void __launch_bounds__(portable::THREADS)                                                                   \
      encoder_qkv_##NT(const uint8_t* w, const half* x, int kUnits, int stages, half* out, int inner, int dKv, int dTiles, \
                       int tokenBlocks) {                                                                                 \
    portable::product<NT>(w, x, kUnits, stages, encoder::Qkv{out, inner, dKv, dTiles, tokenBlocks});                                         \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(portable::THREADS)                                                                   \
      encoder_add_##NT(const uint8_t* w, const half* x, int kUnits, int stages, float4* residual, float4* parts,             \
                       long long stride, int groups, float scale, int split) {                                            \
    portable::product<NT>(w, x, kUnits, stages, encoder::Add{residual, parts, stride, groups, scale, split}, split);      \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(portable::THREADS)                                                                   \
      encoder_gated_##NT(const uint8_t* w, const half* x, int kUnits, int stages, half* out, int kTiles, int kind) {      \
    portable::product<NT>(w, x, kUnits, stages, encoder::Gated{out, kTiles, kind});                                                          \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(portable::THREADS)                                                                   \
      encoder_act_##NT(const uint8_t* w, const half* x, int kUnits, int stages, half* out, int kTiles, int kind) {        \
    portable::product<NT>(w, x, kUnits, stages, encoder::Act{out, kTiles, kind});                                                            \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(portable::THREADS)                                                                   \
      encoder_cross_##NT(const uint8_t* w, const half* x, int kUnits, int stages, half* keys, half* values, int inner,    \
                         int tokens) {                                                                                    \
    portable::product<NT>(w, x, kUnits, stages, encoder::Cross{keys, values, inner, tokens});                                                \
  }
ENCODER_PRODUCTS(64)
ENCODER_PRODUCTS(128)
