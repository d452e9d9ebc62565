// Self-attention. A block takes 64 keys of one column and one head, a piece of a warp 4 of them or fewer, from scores to weighted
// values; then the pieces are joined. More than 64 keys: the last block to finish joins what the others left.
#pragma once
#include "decoder_consumer.cuh"

namespace {

constexpr unsigned FRESH = 1u << 31;  // beyond every place in a cache

template <int NC>
__device__ __forceinline__ void Consumer<NC>::self_attention(int layer) {
  const int shift = opaque(p.widthShift), width = 1 << shift, most = (opaque(p.length) + p.perRow + SPLIT_KEYS - 1) / SPLIT_KEYS;
  const int heads = opaque(p.heads), lane = opaque(threadIdx.x & 31), warp = opaque(threadIdx.x >> 5);
  const unsigned block = opaque(blockIdx.x), together = p.columns * heads, units = together * most;
  if (block >= units) return;
  const half* keys = reinterpret_cast<const half*>(at<const uint8_t>(p.keys) + layer * p.cacheStride);
  const half* values = reinterpret_cast<const half*>(at<const uint8_t>(p.values) + layer * p.cacheStride);
  const int innerPad = p.matrices[O].chunks * CHUNK_K;
  unsigned* done = at<unsigned>(p.counters) + (layer * POINTS + 2) * COUNTER_WORDS;
  unsigned* joins = at<unsigned>(p.counters) + ((p.layers + 1) * POINTS) * COUNTER_WORDS + layer * (MAX_COLUMNS + 1) * heads;
  // a lane takes 8 dimensions of up to 4 keys; `lanes` lanes make a piece, 4096 / width pieces the block
  const int lanes = width / 8, part = lane & (lanes - 1), keysAtOnce = 32 >> (shift - 3), pieces = 4096 >> shift;
  const int piece = warp * keysAtOnce + (lane >> (shift - 3));
  float* outs = reinterpret_cast<float*>(s.work());
  float2* heads2 = reinterpret_cast<float2*>(outs + 4096);
  STAMP(2, layer, 900);
  bool ready = false;
#pragma unroll 1
  for (unsigned f = block; f < units; f += gridDim.x) {
    const unsigned split = most == 1 ? 0 : f / together, rest = f - split * together;
    const unsigned column = p.columns == 1 ? 0 : rest / heads, head = rest - column * heads, fed = p.firstColumn + column;
    const unsigned row = p.perRow == 1 ? fed : fed / p.perRow;
    const int position = p.length + fed - row * p.perRow, splits = position / SPLIT_KEYS + 1;
    if ((int)split >= splits) continue;

    // Everything is loaded before anything is used. Keys beyond the position stand for it and get no weight.
    // Narrow heads need fewer than four rounds: the rest are loaded as well and weigh nothing, because arrays whose
    // loops may end early are kept in local memory.
    uint4 k[4], v[4];
    float extra[4];
    float4 q0, q1;
    const float* bias = at<const float>(p.bias) + (size_t)layer * p.biasStride + head * (p.maxDistance + 1);
    const int firstKey = split * SPLIT_KEYS + warp * 4 + (lane >> (shift - 3));
    const uint4* keyRow = reinterpret_cast<const uint4*>(keys) + part;
    const uint4* valueRow = reinterpret_cast<const uint4*>(values) + part;
    unsigned place[4];
#pragma unroll
    for (int i = 0; i < 4; i++) place[i] = min(firstKey + i * keysAtOnce, position);
    if (p.rowOf) {
      const uint8_t* rowOf = at<const uint8_t>(p.rowOf) + (size_t)row * p.capacity;
      unsigned from[4];
#pragma unroll
      for (int i = 0; i < 4; i++) from[i] = rowOf[place[i]];
#pragma unroll
      for (int i = 0; i < 4; i++) place[i] += (from[i] * heads + head) * p.capacity;
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) place[i] += (row * heads + head) * p.capacity;
    }
    // Those of this launch's tokens are not in the cache yet, but with their column.
    const int firstFresh = p.length + p.firstColumn - (int)(row * p.perRow);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int key = min(firstKey + i * keysAtOnce, position);
      if (key >= max(p.length, firstFresh)) place[i] = FRESH | ((key - firstFresh) * query_width() / 8);
    }
    const auto fresh = [&](int i, int which) {
      return fetch(in_slot<const uint4>(p, p.fresh, layer) + (which * MAX_COLUMNS * query_width() + (head << shift)) / 8 + part + (place[i] & ~FRESH));
    };
    const auto load_query = [&] {
      const float4* query = in_slot<const float4>(p, p.q, layer) + (column * query_width() + head * width + part * 8) / 4;
      q0 = fetch(query), q1 = fetch(query + 1);
    };
    // What earlier steps left does not wait for this one.
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const size_t cached = (size_t)(place[i] & FRESH ? 0 : place[i]) << (shift - 3);
      k[i] = fetch(keyRow + cached), v[i] = fetch(valueRow + cached);
      extra[i] = __ldg(bias + min(max(position - firstKey - i * keysAtOnce, 0), p.maxDistance));
    }
    if (!ready) wait_ready();
    ready = true;
    STAMP(2, layer, 901);
    load_query();
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (place[i] & FRESH) k[i] = fresh(i, 0), v[i] = fresh(i, 1);
    while (again(clean_floats(q0) | clean_floats(q1))) load_query();
#pragma unroll
    for (int i = 0; i < 4; i++)
      while (again((place[i] & FRESH) != 0 ? clean_halves(k[i]) | clean_halves(v[i]) : 0))
        if (place[i] & FRESH) k[i] = fresh(i, 0), v[i] = fresh(i, 1);
    STAMP(2, layer, 902);
    float score[4], top = -1e30f;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const half2* h = reinterpret_cast<const half2*>(&k[i]);
      const float2 a = __half22float2(h[0]), bb = __half22float2(h[1]), c = __half22float2(h[2]), d = __half22float2(h[3]);
      score[i] = (fmaf(q0.x, a.x, q0.y * a.y) + fmaf(q0.z, bb.x, q0.w * bb.y)) + (fmaf(q1.x, c.x, q1.y * c.y) + fmaf(q1.z, d.x, q1.w * d.y));
    }
#pragma unroll
    for (int o = 16; o; o /= 2)
      if (o < lanes) {
#pragma unroll
        for (int i = 0; i < 4; i++) score[i] += __shfl_xor_sync(~0u, score[i], o);
      }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      score[i] = i * 64 < width && firstKey + i * keysAtOnce <= position ? score[i] + extra[i] : -INFINITY;
      top = fmaxf(top, score[i]);
    }
    STAMP(2, layer, 903);
    float total = 0, sum[8] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float weight = __expf(score[i] - top);
      total += weight;
      const half2* h = reinterpret_cast<const half2*>(&v[i]);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float2 value = __half22float2(h[j]);
        sum[2 * j] = fmaf(weight, value.x, sum[2 * j]), sum[2 * j + 1] = fmaf(weight, value.y, sum[2 * j + 1]);
      }
    }
    STAMP(2, layer, 904);
    float4* mine = reinterpret_cast<float4*>(outs + (piece << shift) + part * 8);
    mine[0] = make_float4(sum[0], sum[1], sum[2], sum[3]), mine[1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
    if (part == 0) heads2[piece] = make_float2(top, total);
    consumers_sync();
    STAMP(2, layer, 910);
    const bool owns = (int)threadIdx.x < width;
    float out = 0;
    total = 0, top = -1e30f;
    if (owns) {
#pragma unroll 4
      for (int i = 0; i < pieces; i++) top = fmaxf(top, heads2[i].x);
#pragma unroll 4
      for (int i = 0; i < pieces; i++) {
        const float2 h = heads2[i];
        const float factor = __expf(h.x - top);
        total = fmaf(factor, h.y, total), out = fmaf(factor, outs[(i << shift) + threadIdx.x], out);
      }
    }
    STAMP(2, layer, 911);
    half* attended = in_slot<half>(p, p.attended, layer) + column * innerPad;
    if (splits == 1) {
      if ((int)threadIdx.x < p.dKv) store(attended + stored(head * p.dKv + threadIdx.x), __float2half(__fdividef(out, total)));
      consumers_sync();
      if (threadIdx.x == 0) hint(done);
      continue;
    }
    const int mostPieces = (p.capacity + SPLIT_KEYS - 1) / SPLIT_KEYS, stride = width + 8;
    float* left = at<float>(p.partial) + (size_t)((column * heads + head) * mostPieces) * stride;
    float* ours = left + split * stride;
    if (owns) {
      store(ours + threadIdx.x, out);
      if (threadIdx.x == 0) store(ours + width, top), store(ours + width + 1, total);
    }
    consumers_sync();
    if (threadIdx.x == 0) *s.word() = count_in_and_read(joins + column * heads + head);
    consumers_sync();
    if (*s.word() == (unsigned)splits - 1) {
      if ((int)threadIdx.x * 4 < width) join_pieces(attended, head * p.dKv, left, left + width, stride, splits, threadIdx.x * 4);
      consumers_sync();
      if (threadIdx.x == 0) hint(done);
    }
  }
  if (!ready) wait_ready();
  consumers_sync();
  STAMP(2, layer, 999);
}

}  // namespace
