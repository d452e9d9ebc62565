// The largest logit so far, and the sum that its log-probability needs.
#pragma once
#include "decoder_layout.cuh"

namespace {

// A running maximum and sum of exponentials of logits.
struct Best {
  float top = -INFINITY, sum = 0;
  int id = 0x7fffffff;
  __device__ __forceinline__ void add(float v, int which) {
    if (v > top) {
      sum = sum * __expf(top - v) + 1.f;
      top = v, id = which;
    } else {
      sum += __expf(v - top);
    }
  }
  __device__ __forceinline__ void join(float otherTop, float otherSum, int otherId) {
    const float high = fmaxf(top, otherTop);
    // both empty: exp(-inf + inf) would not be a number
    const float mine = top == -INFINITY ? 0.f : sum * __expf(top - high);
    const float theirs = otherTop == -INFINITY ? 0.f : otherSum * __expf(otherTop - high);
    if (otherTop > top || (otherTop == top && otherId < id)) id = otherId;
    top = high, sum = mine + theirs;
  }
  __device__ __forceinline__ void join_lane(int distance) {
    const float t2 = __shfl_xor_sync(~0u, top, distance), s2 = __shfl_xor_sync(~0u, sum, distance);
    join(t2, s2, __shfl_xor_sync(~0u, id, distance));
  }
};

}  // namespace
