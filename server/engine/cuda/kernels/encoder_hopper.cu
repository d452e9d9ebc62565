// The encoder's products on Hopper (sm_90a): out[n, t] = sum_k W[n, k] x[t, k] with wgmma, the int8 weights dequantized in
// registers as its left operand, the activations read by the tensor cores from shared memory.
//
// A block computes 128 rows x NT tokens: two consumer warpgroups of 64 rows each, and one producer thread that keeps two
// rings full with bulk copies, one of weight units (128 k), one of operand tiles (64 k). Two blocks of a cluster take
// neighbouring rows and the same tokens, so each loads half of every operand tile and multicasts it to both: without that
// the tiles alone would ask the L2 cache for more than it gives. A consumer turns the weights of the next k-step into fp16
// while the tensor cores work on the present one. Blocks are persistent: the producer runs ahead into the next tile
// while the consumers write the last one out.
#include "common.cuh"
#include "encoder_barrier.cuh"
#include "encoder_dequant.cuh"
#include "encoder_epilogue.cuh"
#include "encoder_wgmma.cuh"

namespace hopper {

using namespace encoder;

constexpr int THREADS = 384, CONSUMER_WARPS = 8;

template <int NT>
struct Rings {
  static constexpr int X_BYTES = NT * TILE * 2;
  static constexpr int X_SLOTS = NT == 256 ? 5 : 8;
  static constexpr int W_SLOTS = NT == 256 ? 3 : NT == 128 ? 5 : 8;
  static constexpr int W_OFFSET = X_SLOTS * X_BYTES;
  static constexpr int BARRIERS = W_OFFSET + W_SLOTS * UNIT_BYTES;
  static constexpr int STAGE = (BARRIERS + (X_SLOTS + W_SLOTS) * 16 + 127) / 128 * 128;  // where epilogues transpose
  static constexpr int BYTES = STAGE + CONSUMER_WARPS * Shared::BYTES;
};

template <int NT, class Epilogue>
__device__ __forceinline__ void product(const uint8_t* __restrict__ w, const half* __restrict__ x, int kUnits, int rowTiles,
                                        int tokenTiles, const Epilogue& epilogue, int split = 1) {
  extern __shared__ __align__(1024) uint8_t shared[];
  using R = Rings<NT>;
  const uint32_t base = shared_address(shared);
  const uint32_t xFull = base + R::BARRIERS, xEmpty = xFull + R::X_SLOTS * 8, wFull = xEmpty + R::X_SLOTS * 8, wEmpty = wFull + R::W_SLOTS * 8;
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) {
    for (int i = 0; i < R::X_SLOTS; i++) {
      init(xFull + i * 8, 1);
      init(xEmpty + i * 8, 2 * CONSUMER_WARPS);
    }
    for (int i = 0; i < R::W_SLOTS; i++) {
      init(wFull + i * 8, 1);
      init(wEmpty + i * 8, CONSUMER_WARPS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  cluster_sync();

  // Tiles: the tokens run fastest, then pairs of row tiles, then the parts of K.
  const int area = (rowTiles + 1) / 2 * tokenTiles, tiles = area * split, first = blockIdx.x / 2, stride = gridDim.x / 2;
  Cursor<R::X_SLOTS> xc;
  Cursor<R::W_SLOTS> wc;
  if (threadIdx.x < 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      for (int tile = first; tile < tiles; tile += stride) {
        const int part = tile / area, in = tile % area, tokenTile = in % tokenTiles;
        const int rowTile = min(in / tokenTiles * 2 + (int)rank, rowTiles - 1);
        const uint8_t* unit = w + (size_t)rowTile * kUnits * UNIT_BYTES;
        // this block's half of the tokens
        constexpr int TOKENS = NT / 2, BLOCKS = TOKENS < TILE ? 1 : TOKENS / TILE, PART = R::X_BYTES / 2 / BLOCKS;
        const int token = tokenTile * NT + rank * TOKENS;
        const half* xp = x + (size_t)(token / TILE) * 2 * kUnits * TILE_HALFS + (token % TILE) * TILE;
        for (int kb = kUnits * part / split; kb < kUnits * (part + 1) / split; kb++) {
          wait(wEmpty + wc.slot * 8, wc.parity ^ 1);
          expect(wFull + wc.slot * 8, UNIT_BYTES);
          copy(base + R::W_OFFSET + wc.slot * UNIT_BYTES, unit + (size_t)kb * UNIT_BYTES, UNIT_BYTES, wFull + wc.slot * 8);
          wc.next();
#pragma unroll
          for (int h = 0; h < 2; h++) {
            wait(xEmpty + xc.slot * 8, xc.parity ^ 1);
            expect(xFull + xc.slot * 8, R::X_BYTES);
            const uint32_t dst = base + xc.slot * R::X_BYTES + rank * (R::X_BYTES / 2);
#pragma unroll
            for (int b = 0; b < BLOCKS; b++)
              copy_to_both(dst + b * PART, xp + ((size_t)b * 2 * kUnits + 2 * kb + h) * TILE_HALFS, PART, xFull + xc.slot * 8);
            xc.next();
          }
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    const int warp = threadIdx.x / 32 - 4, lane = threadIdx.x & 31, g = lane >> 2;
    const Shared stage{base + R::STAGE + warp * Shared::BYTES};
    for (int tile = first; tile < tiles; tile += stride) {
      const int part = tile / area, in = tile % area, tokenTile = in % tokenTiles, rowTile = in / tokenTiles * 2 + (int)rank;
      const int kFirst = kUnits * part / split, kEnd = kUnits * (part + 1) / split;
      float acc[NT / 8][4];
      int released = -1;  // the operand slot whose products are still in flight
      for (int kb = kFirst; kb < kEnd; kb++) {
        wait(wFull + wc.slot * 8, wc.parity);
        const uint8_t* unit = shared + R::W_OFFSET + wc.slot * UNIT_BYTES;
        uint4 q[4];
#pragma unroll
        for (int i = 0; i < 4; i++) q[i] = *(const uint4*)(unit + warp * 2048 + i * 512 + lane * 16);
        const half* scale = (const half*)(unit + UNIT_WEIGHTS) + warp * 16 + g;
        const half2 scaleG = __half2half2(scale[0]), scaleG8 = __half2half2(scale[8]);
        __syncwarp();
        if (lane == 0) arrive(wEmpty + wc.slot * 8);
        wc.next();
        uint32_t a[2][4];
#pragma unroll
        for (int step = 0; step < 8; step++) {
          const uint4& raw = q[step >> 1];
          dequantize(a[step & 1], (step & 1) ? raw.z : raw.x, (step & 1) ? raw.w : raw.y, scaleG, scaleG8);
          if ((step & 3) == 0) wait(xFull + xc.slot * 8, xc.parity);
          wgmma_fence();
          wgmma(acc, a[step & 1], wgmma_descriptor(base + xc.slot * R::X_BYTES) + 2 * (step & 3), kb == kFirst && step == 0);
          wgmma_commit();
          wgmma_wait<1>();
          if ((step & 3) == 0 && released >= 0 && lane < 2) arrive_at(xEmpty + released * 8, lane);
          if ((step & 3) == 3) {
            released = xc.slot;
            xc.next();
          }
        }
      }
      wgmma_wait<0>();
      if (lane < 2) arrive_at(xEmpty + released * 8, lane);
      if (rowTile < rowTiles) epilogue(rowTile * UNIT + warp * 16, tokenTile * NT, acc, stage, part);
    }
  }
  cluster_sync();  // no block leaves while the other may still write to its shared memory
}

}  // namespace hopper

// Launch: clusters of 2 (fixed at compile time); grid an even number of blocks, at most the multiprocessors and at most
// 2 * ceil(rowTiles / 2) * tokenTiles * split; block 384; shared: the Rings' BYTES.
// The leading five parameters are the same for all: weight units, operand tiles, K / 128, row tiles of 128, token tiles of NT.
#define ENCODER_HOPPER(NT)                                                                                                     \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(hopper::THREADS, 1)                                           \
      encoder_qkv_h##NT(const uint8_t* w, const half* x, int kUnits, int rowTiles, int tokenTiles, half* out, int inner, int dKv, \
                        int dTiles, int tokenBlocks) {                                                                         \
    hopper::product<NT>(w, x, kUnits, rowTiles, tokenTiles, encoder::Qkv{out, inner, dKv, dTiles, tokenBlocks});                                \
  }                                                                                                                            \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(hopper::THREADS, 1)                                           \
      encoder_add_h##NT(const uint8_t* w, const half* x, int kUnits, int rowTiles, int tokenTiles, float4* residual,           \
                        float4* parts, long long stride, int groups, float scale, int split) {                                \
    hopper::product<NT>(w, x, kUnits, rowTiles, tokenTiles, encoder::Add{residual, parts, stride, groups, scale, split}, split); \
  }                                                                                                                            \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(hopper::THREADS, 1)                                           \
      encoder_gated_h##NT(const uint8_t* w, const half* x, int kUnits, int rowTiles, int tokenTiles, half* out, int kTiles,    \
                          int kind) {                                                                                          \
    hopper::product<NT>(w, x, kUnits, rowTiles, tokenTiles, encoder::Gated{out, kTiles, kind});                                                 \
  }                                                                                                                            \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(hopper::THREADS, 1)                                           \
      encoder_act_h##NT(const uint8_t* w, const half* x, int kUnits, int rowTiles, int tokenTiles, half* out, int kTiles, int kind) { \
    hopper::product<NT>(w, x, kUnits, rowTiles, tokenTiles, encoder::Act{out, kTiles, kind});                                                   \
  }                                                                                                                            \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(hopper::THREADS, 1)                                           \
      encoder_cross_h##NT(const uint8_t* w, const half* x, int kUnits, int rowTiles, int tokenTiles, half* keys, half* values, \
                          int inner, int tokens) {                                                                             \
    hopper::product<NT>(w, x, kUnits, rowTiles, tokenTiles, encoder::Cross{keys, values, inner, tokens});                                       \
  }
ENCODER_HOPPER(64)
ENCODER_HOPPER(128)
ENCODER_HOPPER(256)
