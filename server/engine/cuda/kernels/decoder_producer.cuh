// The producer: one thread (before compute capability 9.0 one warp) that copies all stages of a step through the ring.
#pragma once
#include "decoder_exchange.cuh"

namespace {

// With AHEAD the same walk over all stages, `p.ahead` stages before the copies, which only asks the second-level cache to
// fetch them: what the ring has no room for while the consumers wait is then near when they go on.
template <int NC, bool AHEAD>
struct Producer {
  const StepParams& p;
  const Shared<NC> s;
  Ring ring, landing;
  int issued = 0;
  Pacer pacer;
  uint64_t policy;

  __device__ Producer(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared), ring(params.stages), landing(params.stages) {
    policy = copy_policy();
  }

  // Copies one stage into the next free slot. Only a few copies are under way at a time: enough to keep the memory busy,
  // and not so many that the loads and stores of the other roles wait behind them for microseconds.
  __device__ __forceinline__ void stage(const uint8_t* from, int bytes) {
    if (AHEAD) {
      if (pacer.turn(s.copied(), issued, p.ahead, p.pace)) prefetch(from, bytes, policy);
      issued++;
      return;
    }
    if (issued >= p.inFlight) {
      barrier_wait(s.full(landing.slot), landing.phase);
      landing.advance(1);
    }
    issued++;
    if (!barrier_test(s.empty(ring.slot), ring.phase ^ 1)) {
      tell(2 * issued - 1);
      barrier_wait(s.empty(ring.slot), ring.phase ^ 1);
    }
#ifdef FLAN_NO_COPY  // measuring only: the consumers alone, on garbage
    barrier_arrive(s.full(ring.slot));
#else
    copy_stage(s.stage(ring.slot), from, bytes, s.full(ring.slot), policy);
#endif
    tell(2 * issued);
    ring.advance(1);
  }

  // Twice the stages copied so far, and one more while the ring has no room.
  __device__ __forceinline__ void tell(int state) {
    if ((threadIdx.x & 31) == 0) *reinterpret_cast<volatile int*>(s.copied()) = state;
  }

  __device__ __forceinline__ void product(int layer, int which) {
    if (!AHEAD) STAMP(0, layer, 100 * which);
    const Matrix& m = p.matrices[which];
    const uint8_t* base = at<const uint8_t>(m.weights) + (which == HEAD ? 0 : layer * p.layerStride);
    for_units<Shape<NC>::TILES_IN_PARTS>(m, turn(layer, which), [&](int group, int part, int) {
      const uint8_t* from = base + ((size_t)group * m.group * m.chunks + part * m.unit) * CHUNK_BYTES;
#pragma unroll 1
      for (int left = tiles_in_group(m, group) * chunks_in_part(m, part); left > 0; left -= STAGE_CHUNKS) {
        stage(from, min(left, STAGE_CHUNKS) * CHUNK_BYTES);
        if (!AHEAD) STAMP(0, layer, 100 * which + 1);
        from += STAGE_BYTES;
      }
    });
  }

  // The keys and values of earlier tokens that this block's self-attention reads. They wait for nothing, but lie far: other
  // layers' weights have passed through the second-level cache since the last step.
  __device__ void cached(int layer) {
    const unsigned most = (p.length + p.perRow + SPLIT_KEYS - 1) / SPLIT_KEYS, together = p.columns * p.heads;
    for (unsigned f = blockIdx.x; f < together * most; f += gridDim.x) {
      const unsigned first = f / together * SPLIT_KEYS, column = f % together / p.heads, head = f % p.heads;
      const unsigned fed = p.firstColumn + column, row = fed / p.perRow;
      if (fed % p.perRow != 0 || (int)first >= p.length) continue;
      const size_t from = ((size_t)((row * p.heads + head) * p.capacity + first) << p.widthShift) * 2;
      const int bytes = min(SPLIT_KEYS, p.length - (int)first) << (p.widthShift + 1);
      prefetch(at<const uint8_t>(p.keys) + layer * p.cacheStride + from, bytes);
      prefetch(at<const uint8_t>(p.values) + layer * p.cacheStride + from, bytes);
    }
  }

  __device__ void cross(int layer) {
    const uint8_t* base = at<const uint8_t>(p.cross) + layer * p.crossStride;
    for (int f = blockIdx.x; f < p.heads * p.crossParts; f += gridDim.x) {
      const int head = f / p.crossParts, part = f % p.crossParts;
      const int first = part * p.crossShare, last = min(first + p.crossShare, p.crossSlots);
      for (int j = first; j < last; j++) stage(base + ((size_t)head * p.crossSlots + j) * CROSS_BYTES, CROSS_BYTES);
    }
  }

  __device__ void run() {
    const bool walks = !AHEAD || (PREFETCHES && p.ahead > 0 && (threadIdx.x & 31) == 0);
#pragma unroll 1
    for (int layer = 0; layer <= p.layers; layer++) {
#pragma unroll 1
      for (int which = layer < p.layers ? QKV : HEAD; which <= (layer < p.layers ? WO : HEAD); which++) {
        // The warp that walks ahead cleans, too: where it waits least, because the ring is hardly ever full there.
        if (AHEAD && which == (layer == 0 ? QKV : WO)) __syncwarp(), clean(p, layer);
        if (!walks) continue;
        if (AHEAD && which == QKV) cached(layer);
        product(layer, which);
        if (which == XQ) cross(layer);
      }
    }
    if (!AHEAD) copies_done();
  }
};

}  // namespace
