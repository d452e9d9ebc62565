// The producer: one thread (before compute capability 9.0 one warp) that copies all stages of a step through the ring.
#pragma once
#include "decoder_layout.cuh"

namespace {

template <int NC>
struct Producer {
  const StepParams& p;
  const Shared<NC> s;
  Ring ring, landing;
  int issued = 0;
  uint64_t policy;

  __device__ Producer(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared), ring(params.stages), landing(params.stages) {
    policy = copy_policy();
  }

  // Copies one stage into the next free slot. Only a few copies are under way at a time: enough to keep the memory busy,
  // and not so many that the loads and stores of the other roles wait behind them for microseconds.
  __device__ __forceinline__ void stage(const uint8_t* from, int bytes) {
    if (issued >= p.inFlight) {
      barrier_wait(s.full(landing.slot), landing.phase);
      landing.advance(1);
    }
    issued++;
    barrier_wait(s.empty(ring.slot), ring.phase ^ 1);
#ifdef FLAN_NO_COPY  // measuring only: the consumers alone, on garbage
    barrier_arrive(s.full(ring.slot));
#else
    copy_stage(s.stage(ring.slot), from, bytes, s.full(ring.slot), policy);
#endif
    ring.advance(1);
  }

  __device__ __forceinline__ void product(int layer, int which) {
    STAMP(0, layer, 100 * which);
    const Matrix& m = p.matrices[which];
    const uint8_t* base = at<const uint8_t>(m.weights) + (which == HEAD ? 0 : layer * p.layerStride);
    for_units<Shape<NC>::TILES_IN_PARTS>(m, turn(layer, which), [&](int group, int part, int) {
      const uint8_t* from = base + ((size_t)group * m.group * m.chunks + part * m.unit) * CHUNK_BYTES;
#pragma unroll 1
      for (int left = tiles_in_group(m, group) * chunks_in_part(m, part); left > 0; left -= STAGE_CHUNKS) {
        stage(from, min(left, STAGE_CHUNKS) * CHUNK_BYTES);
        STAMP(0, layer, 100 * which + 1);
        from += STAGE_BYTES;
      }
    });
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
#pragma unroll 1
    for (int layer = 0; layer <= p.layers; layer++) {
#pragma unroll 1
      for (int which = layer < p.layers ? QKV : HEAD; which <= (layer < p.layers ? WO : HEAD); which++) {
        product(layer, which);
        if (which == XQ) cross(layer);
      }
    }
    copies_done();
  }
};

}  // namespace
