// The encoder's self-attention on Hopper (sm_90a): the same mathematics as encoder_attention.cu with wgmma.
//
// A block owns 128 queries of one head: two consumer warpgroups of 64, and a producer thread that streams keys and values,
// 64 tokens a stage, with bulk copies. Scores come from shared memory operands; their fp16 exponentials are at once the
// register operand of the product with the values, whose tiles are read transposed. Each warpgroup issues the scores of the
// next keys before the product with the present values, so that the tensor cores work while it exponentiates.
#include "common.cuh"
#include "encoder_barrier.cuh"
#include "encoder_wgmma.cuh"

namespace attention_hopper {

using namespace encoder;

constexpr int THREADS = 384, KEYS = 64;
constexpr float LOG2E = 1.4426950408889634f;

template <int D>
struct Layout {
  static constexpr int STAGES = D == 256 ? 2 : 4;
  static constexpr int BLOCK = KEYS * D * 2;  // bytes of 64 tokens
  static constexpr int KEYS_AT = 2 * BLOCK, VALUES_AT = KEYS_AT + STAGES * BLOCK, BARRIERS = VALUES_AT + STAGES * BLOCK;
  static constexpr int BYTES = BARRIERS + (1 + 4 * STAGES) * 8;
};

// The value is used and changed after this point only: no instruction may define a register of a wgmma while one is in
// flight, or the compiler waits for every single one.
__device__ __forceinline__ void pin(float& v) { asm volatile("" : "+f"(v)::"memory"); }

// Scores s of one step (64 keys of rows g and g + 8) to exponentials, in place.
__device__ __forceinline__ void softmax(float (&s)[8][4], float (&top)[2], float (&sum)[2], float (&shrink)[2],
                                        const float* __restrict__ bias, int M, int near, int key, int T) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  float far = 0.f;  // a bias that all scores share is added to the maximum only
  if (near - 15 >= M || near + KEYS - 1 <= -M) {
    far = near > 0 ? bias[M] : bias[-M];
  } else {
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int distance = near + j * 8 + 2 * t + (e & 1) - g - (e >> 1) * 8;
        s[j][e] += __ldg(bias + min(max(distance, -M), M));
      }
  }
  if (key + KEYS > T) {
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (key + j * 8 + 2 * t + (e & 1) >= T) s[j][e] = -1e30f;
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float m = -1e30f;
#pragma unroll
    for (int j = 0; j < 8; j++) m = fmaxf(m, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
    m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 1));
    m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 2));
    m = fmaxf(m + far, top[r]);
    shrink[r] = fast_exp2((top[r] - m) * LOG2E);
    top[r] = m;
    const float shift = (m - far) * LOG2E;
    float l = 0.f;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float &x = s[j][2 * r], &y = s[j][2 * r + 1];
      x = fast_exp2(fmaf(x, LOG2E, -shift));
      y = fast_exp2(fmaf(y, LOG2E, -shift));
      l += x + y;
    }
    sum[r] = sum[r] * shrink[r] + l;
  }
}

template <int D>
__device__ __forceinline__ void attend(const half* __restrict__ qkv, const float* __restrict__ table, half* __restrict__ out, int T,
                                       int tokenBlocks, int dKv, int M, int outTiles) {
  extern __shared__ __align__(1024) uint8_t shared[];
  using L = Layout<D>;
  constexpr int STAGES = L::STAGES, BLOCK = L::BLOCK, TILE_BYTES = TILE_HALFS * 2;
  const uint32_t base = shared_address(shared), keys = base + L::KEYS_AT, values = base + L::VALUES_AT;
  const uint32_t qFull = base + L::BARRIERS, kFull = qFull + 8, kEmpty = kFull + STAGES * 8, vFull = kEmpty + STAGES * 8, vEmpty = vFull + STAGES * 8;
  const int head = blockIdx.y, heads = gridDim.y, blocks = (T + KEYS - 1) / KEYS;
  if (threadIdx.x == 0) {
    init(qFull, 1);
    for (int i = 0; i < STAGES; i++) {
      init(kFull + i * 8, 1);
      init(vFull + i * 8, 1);
      init(kEmpty + i * 8, 8);
      init(vEmpty + i * 8, 8);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    if (threadIdx.x == 0) {
      const size_t plane = (size_t)tokenBlocks * TILE * D;
      const half* q = qkv + head * plane + (size_t)blockIdx.x * 2 * TILE * D;
      const half* k = qkv + (heads + head) * plane;
      const half* v = qkv + (2 * heads + head) * plane;
      expect(qFull, 2 * BLOCK);
      copy(base, q, 2 * BLOCK, qFull);
      Cursor<STAGES> c;
      for (int b = 0; b < blocks; b++, c.next()) {
        wait(kEmpty + c.slot * 8, c.parity ^ 1);
        expect(kFull + c.slot * 8, BLOCK);
        copy(keys + c.slot * BLOCK, k + (size_t)b * KEYS * D, BLOCK, kFull + c.slot * 8);
        wait(vEmpty + c.slot * 8, c.parity ^ 1);
        expect(vFull + c.slot * 8, BLOCK);
        copy(values + c.slot * BLOCK, v + (size_t)b * KEYS * D, BLOCK, vFull + c.slot * 8);
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    const int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 & 3, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int q0 = (blockIdx.x * 2 + group) * 64 + warp * 16;
    const float* bias = table + (size_t)head * (2 * M + 1) + M;  // by distance, -M to M
    const uint64_t qd = wgmma_descriptor(base + group * BLOCK);
    float o[D / 8][4] = {};
    float s[8][4], top[2] = {-1e30f, -1e30f}, sum[2] = {0.f, 0.f}, shrink[2];
    uint32_t p[8][2];
    Cursor<STAGES> kc, vc;

    auto scores = [&] {
      const uint64_t kd = wgmma_descriptor(keys + kc.slot * BLOCK);
#pragma unroll
      for (int i = 0; i < D / 16; i++) {
        const int offset = ((i >> 2) * TILE_BYTES + (i & 3) * 32) >> 4;
        wgmma_shared(s, qd + offset, kd + offset, i == 0);
      }
      wgmma_commit();
    };
    auto weigh = [&] {
      const uint64_t vd = wgmma_descriptor_transposed(values + vc.slot * BLOCK, TILE_BYTES);
#pragma unroll
      for (int i = 0; i < KEYS / 16; i++) {
        const uint32_t a[4] = {p[2 * i][0], p[2 * i][1], p[2 * i + 1][0], p[2 * i + 1][1]};
        wgmma<1>(o, a, vd + i * (16 * 128 >> 4), 0);
      }
      wgmma_commit();
    };
    // The operand registers are written only here, with no product in flight.
    auto round = [&] {
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
          pin(s[j][2 * r]);
          pin(s[j][2 * r + 1]);
          p[j][r] = pack_half2(s[j][2 * r], s[j][2 * r + 1]);
        }
    };
    auto release = [&](uint32_t barrier) {
      if (lane == 0) arrive(barrier);
    };

    wait(qFull, 0);
    wait(kFull, 0);
    wgmma_fence();
    scores();
    wgmma_wait<0>();
    release(kEmpty);
    kc.next();
    softmax(s, top, sum, shrink, bias, M, -q0, 0, T);
    round();
    for (int b = 1; b < blocks; b++) {
      wait(kFull + kc.slot * 8, kc.parity);
      wgmma_fence();
      scores();
      wait(vFull + vc.slot * 8, vc.parity);
      wgmma_fence();
      weigh();
      wgmma_wait<1>();
      release(kEmpty + kc.slot * 8);
      kc.next();
      softmax(s, top, sum, shrink, bias, M, b * KEYS - q0, b * KEYS, T);
      wgmma_wait<0>();
      release(vEmpty + vc.slot * 8);
      vc.next();
#pragma unroll
      for (int j = 0; j < D / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          o[j][e] *= shrink[e >> 1];
          pin(o[j][e]);
        }
      round();
    }
    wait(vFull + vc.slot * 8, vc.parity);
    wgmma_fence();
    weigh();
    wgmma_wait<0>();
#pragma unroll
    for (int r = 0; r < 2; r++) {
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
      const float inv = 1.f / sum[r];
#pragma unroll
      for (int j = 0; j < D / 8; j += 4) {
        uint32_t w[4];
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = pack(o[j + i][2 * r] * inv, o[j + i][2 * r + 1] * inv);
        const uint4 chunk = gather_quad(w[0], w[1], w[2], w[3]);
        const int d = (j + t) * 8;
        if (d < dKv) *reinterpret_cast<uint4*>(out + tile_chunk(q0 + g + 8 * r, head * dKv + d, outTiles)) = chunk;
      }
    }
  }
}

}  // namespace attention_hopper

// Parameters as in encoder_attention.cu. Launch: grid (T / 128 rounded up, heads), block 384, shared: Layout<D>::BYTES, that is
// 64 * D * 2 * (2 + 2 stages) + 8 * (1 + 4 stages), stages 2 for D = 256, else 4.
#define ENCODER_ATTENTION_HOPPER(D)                                                                                             \
  extern "C" __global__ void __launch_bounds__(attention_hopper::THREADS, 1)                                                    \
      encoder_attention_h##D(const half* qkv, const float* table, half* out, int T, int tokenBlocks, int dKv, int M, int outTiles) { \
    attention_hopper::attend<D>(qkv, table, out, T, tokenBlocks, dKv, M, outTiles);                                             \
  }
ENCODER_ATTENTION_HOPPER(64)
ENCODER_ATTENTION_HOPPER(128)
ENCODER_ATTENTION_HOPPER(256)
