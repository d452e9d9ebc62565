// Cross-attention. The source's keys and values come through the ring, in A fragments (decoder_pack.cu). A stage holds 4096 / headWidth
// keys of one head; four warps share it: each takes 16 keys (or, with wide heads, the same 16 keys as its neighbours)
// and 64 of the head's dimensions. A block's four groups of warps take its stages in turn; then the 16 warps' results
// are joined in a tree, and those of the blocks of a head by the block of its last part.
#pragma once
#include "decoder_consumer.cuh"

namespace {

// Weighted means of what the parts of a head left, and still leave. Four lanes share four dimensions: each takes two of
// eight parts.
template <int NC>
__device__ __forceinline__ void Consumer<NC>::join_parts(const float* pieces, half* attended, int head, int stride) {
  const int fours = p.headWidth / 4, group = lane & 3, count = p.crossParts;
#pragma unroll 1
  for (int some = warp * 8; some < p.columns * fours; some += CONSUMER_WARPS * 8) {
    const int item = some + (lane >> 2), column = item / fours, dim = (item - column * fours) * 4;
    const float* piece = pieces + column * (p.headWidth + 4);
    float top = -1e30f, total = 0, sum[4] = {};
#pragma unroll 1
    for (int first = 2 * group; first < count + 2 * group; first += 8) {
      float2 h[2];
      float4 v[2];
      uint32_t clean;
      do {
        clean = 0;
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float* from = piece + (size_t)min(first + i, count - 1) * stride;
          h[i] = fetch(reinterpret_cast<const float2*>(from + p.headWidth));
          v[i] = fetch(reinterpret_cast<const float4*>(from + dim));
          clean |= clean_floats(v[i]) | clean_float(h[i].x) | clean_float(h[i].y);
        }
      } while (again(clean));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        if (first + i >= count) continue;
        const float high = fmaxf(top, h[i].x), old = __expf(top - high), factor = __expf(h[i].x - high);
        top = high, total = fmaf(factor, h[i].y, total * old);
        sum[0] = fmaf(factor, v[i].x, sum[0] * old), sum[1] = fmaf(factor, v[i].y, sum[1] * old);
        sum[2] = fmaf(factor, v[i].z, sum[2] * old), sum[3] = fmaf(factor, v[i].w, sum[3] * old);
      }
    }
#pragma unroll
    for (int o = 1; o < 4; o *= 2) {
      const float high = fmaxf(top, __shfl_xor_sync(~0u, top, o)), factor = __expf(top - high);
      top = high, total *= factor;
      total += __shfl_xor_sync(~0u, total, o);
#pragma unroll
      for (int j = 0; j < 4; j++) sum[j] *= factor, sum[j] += __shfl_xor_sync(~0u, sum[j], o);
    }
    const int place = head * p.dKv + dim;
    half* row = attended + column * p.matrices[XO].chunks * CHUNK_K;
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (group == 0 && dim + j < p.dKv) store(row + stored(place + j), __float2half(__fdividef(sum[j], total)));
  }
}

template <int NC>
__device__ __forceinline__ void Consumer<NC>::cross_attention(int layer) {
  const int heads = opaque(p.heads), parts = heads * p.crossParts, block = opaque(blockIdx.x);
  if (block >= parts) return;
  const int lane = opaque(threadIdx.x & 31), warp = opaque(threadIdx.x >> 5), g = lane >> 2, t = lane & 3;
  const int width = opaque(p.headWidth), innerPad = p.matrices[XO].chunks * CHUNK_K;
  const int sharing = width / 64, quarter = warp % 4;
  const int keyTile = quarter >> (p.widthShift - 6), slice = quarter & (sharing - 1);
  unsigned* done = at<unsigned>(p.counters) + (layer * POINTS + 5) * COUNTER_WORDS;
  STAMP(2, layer, 1900);
  wait_ready();
  STAMP(2, layer, 1901);
  #pragma unroll 1
  for (int f = block; f < parts; f += gridDim.x) {
    const int head = f / p.crossParts, part = f - head * p.crossParts;
    const int first = part * p.crossShare, count = min(p.crossShare, p.crossSlots - first);
    Fragments b;
    load_halves(b, in_slot<const half>(p, p.xqueries, layer), query_width(), head * width, width / 64);
    float m[2] = {-1e30f, -1e30f}, l[2] = {0, 0}, out[4][4] = {};
    STAMP(2, layer, 1902);
    Ring mine = ring;
    mine.advance(warp / 4);
    for (int j = warp / 4; j < count; j += 4) {
      barrier_wait(s.full(mine.slot), mine.phase);
      const uint8_t* stage = s.stage(mine.slot) + keyTile * (width / 16) * 512 + lane * 16;
      float c[4] = {0, 0, 0, 0}, c2[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < 16; i += 2) {
        if (i * 16 >= width) break;
        const uint4 a = *reinterpret_cast<const uint4*>(stage + i * 512), a2 = *reinterpret_cast<const uint4*>(stage + i * 512 + 512);
        mma16816(c, a.x, a.y, a.z, a.w, b[2 * i], b[2 * i + 1]);
        mma16816(c2, a2.x, a2.y, a2.z, a2.w, b[2 * i + 2], b[2 * i + 3]);
      }
      const int key = ((first + j) << (12 - p.widthShift)) + keyTile * 16 + g;
      const bool in0 = key < p.sourceLength, in1 = key + 8 < p.sourceLength;
      uint32_t weights[2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const float u = in0 ? c[i] + c2[i] : -1e30f, v = in1 ? c[i + 2] + c2[i + 2] : -1e30f;
        float top = fmaxf(u, v);
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 4));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 8));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 16));
        top = fmaxf(top, m[i]);
        const float old = __expf(m[i] - top), pu = in0 ? __expf(u - top) : 0.f, pv = in1 ? __expf(v - top) : 0.f;
        m[i] = top;
        l[i] = l[i] * old + (pu + pv);
#pragma unroll
        for (int tile = 0; tile < 4; tile++) out[tile][i] *= old, out[tile][i + 2] *= old;
        c[i] = pu, c[i + 2] = pv;
      }
      // from rows = keys to columns = keys: the B operand of values x weights
      weights[0] = pack_half2(c[0], c[1]), weights[1] = pack_half2(c[2], c[3]);
#pragma unroll
      for (int i = 0; i < 2; i++)
        weights[i] = transpose8(weights[i]);
#pragma unroll
      for (int tile = 0; tile < 4; tile++) {
        const uint4 a = *reinterpret_cast<const uint4*>(stage + CROSS_BYTES / 2 + (slice * 4 + tile) * 512);
        mma16816(out[tile], a.x, a.y, a.z, a.w, weights[0], weights[1]);
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(s.empty(mine.slot));
      mine.advance(4);
    }
    ring.advance(count);
    STAMP(2, layer, 1910);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      l[i] += __shfl_xor_sync(~0u, l[i], 4);
      l[i] += __shfl_xor_sync(~0u, l[i], 8);
      l[i] += __shfl_xor_sync(~0u, l[i], 16);
    }
    for (int stride = 8; stride >= sharing; stride /= 2) {
      // NC = 1 keeps column 0 only: lanes with t = 0
      constexpr int FLOATS = NC == 1 ? 72 : 528;
      float* slotOf = reinterpret_cast<float*>(s.work()) + (warp & (stride - 1)) * FLOATS;
      if (warp >= stride && warp < 2 * stride) {
        if (NC == 1) {
          if (t == 0) {
#pragma unroll
            for (int tile = 0; tile < 4; tile++) slotOf[tile * 16 + g] = out[tile][0], slotOf[tile * 16 + g + 8] = out[tile][2];
            if (g == 0) slotOf[64] = m[0], slotOf[65] = l[0];
          }
        } else {
#pragma unroll
          for (int tile = 0; tile < 4; tile++)
            reinterpret_cast<float4*>(slotOf)[tile * 32 + lane] = make_float4(out[tile][0], out[tile][1], out[tile][2], out[tile][3]);
          if (g == 0) reinterpret_cast<float4*>(slotOf + 512)[t] = make_float4(m[0], m[1], l[0], l[1]);
        }
      }
      consumers_sync();
      if (warp < stride) {
        float m2[2], l2[2], o2[4][4];
        if (NC == 1) {
          m2[0] = slotOf[64], l2[0] = slotOf[65];
#pragma unroll
          for (int tile = 0; tile < 4; tile++) o2[tile][0] = slotOf[tile * 16 + g], o2[tile][2] = slotOf[tile * 16 + g + 8];
        } else {
          const float4 ml = reinterpret_cast<const float4*>(slotOf + 512)[t];
          m2[0] = ml.x, m2[1] = ml.y, l2[0] = ml.z, l2[1] = ml.w;
#pragma unroll
          for (int tile = 0; tile < 4; tile++) {
            const float4 v = reinterpret_cast<const float4*>(slotOf)[tile * 32 + lane];
            o2[tile][0] = v.x, o2[tile][1] = v.y, o2[tile][2] = v.z, o2[tile][3] = v.w;
          }
        }
#pragma unroll
        for (int i = 0; i < (NC == 1 ? 1 : 2); i++) {
          const float top = fmaxf(m[i], m2[i]), mineFactor = __expf(m[i] - top), theirs = __expf(m2[i] - top);
          m[i] = top;
          l[i] = l[i] * mineFactor + l2[i] * theirs;
#pragma unroll
          for (int tile = 0; tile < 4; tile++) {
            out[tile][i] = out[tile][i] * mineFactor + o2[tile][i] * theirs;
            out[tile][i + 2] = out[tile][i + 2] * mineFactor + o2[tile][i + 2] * theirs;
          }
        }
      }
      consumers_sync();
    }
    STAMP(2, layer, 1911);
    // warps 0 .. sharing - 1 now hold the block's result, 64 dimensions each
    half* attended = in_slot<half>(p, p.attended, layer) + MAX_COLUMNS * innerPad;
    const int stride = MAX_COLUMNS * (width + 4);
    float* pieces = in_slot<float>(p, p.crossPieces, layer) + (size_t)head * p.crossParts * stride;
    if (warp < sharing) {
#pragma unroll
      for (int i = 0; i < (NC == 1 ? 1 : 2); i++) {
        const int column = 2 * t + i;
        if (column >= p.columns) continue;
        float* piece = pieces + (size_t)part * stride + column * (width + 4);
#pragma unroll
        for (int tile = 0; tile < 4; tile++)
#pragma unroll
          for (int half8 = 0; half8 < 2; half8++) {
            const int dim = slice * 64 + tile * 16 + half8 * 8 + g;
            const float value = out[tile][i + 2 * half8];
            if (p.crossParts > 1) store(piece + dim, value);
            else if (dim < p.dKv) store(attended + column * innerPad + stored(head * p.dKv + dim), __float2half(__fdividef(value, l[i])));
          }
        if (p.crossParts > 1 && warp == 0 && g == 0) store(piece + width, m[i]), store(piece + width + 1, l[i]);
      }
    }
    STAMP(2, layer, 1912);
    // The block of the last part joins them all.
    if (part < p.crossParts - 1) continue;
    if (p.crossParts > 1) join_parts(pieces, attended, head, stride);
    consumers_sync();
    if (threadIdx.x == 0) hint(done);
  }
  consumers_sync();
  STAMP(2, layer, 1999);
}

}  // namespace
