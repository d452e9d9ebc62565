// The consumers: 16 warps that load their part of the activations into registers and multiply whatever the ring brings.
#pragma once
#include "decoder_exchange.cuh"

namespace {

// 2^e as fp16, e <= 0; 0 below its range.
__device__ __forceinline__ half half_power(int e) {
  return __ushort_as_half(e >= -14 ? (e + 15) << 10 : e >= -24 ? 1 << (e + 24) : 0);
}

template <int NC>
struct Consumer {
  const StepParams& p;
  const Shared<NC> s;
  Ring ring;
  uint32_t readyPhase = 0, scaledPhase = 0;
  int unit = 0;  // units multiplied so far
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;

  // B fragments of this warp's 256 of K: for stretch i (64 k) and column g, words 8 i .. hold k = 64 i + 16 t + 0..15.
  // They live from phase to phase nowhere: what does not fit into registers goes to local memory, whose first-level cache
  // the ring has taken, and each access costs a trip to the second level.
  using Fragments = uint32_t[32];
  // What the fragments were scaled by, of both 128-blocks and of columns 2t and 2t + 1.
  using Scales = float[2][2];

  __device__ Consumer(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared), ring(params.stages) {}

  // Queries keep the padding of heads; what attention gives does not (the columns of o and xo are whole blocks of scales).
  __device__ __forceinline__ unsigned query_width() const { return ((p.heads << p.widthShift) + CHUNK_K - 1) & ~(CHUNK_K - 1); }

  __device__ __forceinline__ void wait_ready() {
    barrier_wait(s.ready(), readyPhase);
    readyPhase ^= 1;
    if (lane == 0) barrier_arrive(s.taken());
  }

  // Fragments of `stretches` of 64 k from k = first of fp16 activations [8][width], which lie in the order of `stored`.
  __device__ __forceinline__ void load_halves(Fragments& b, const half* from, int width, int first, int stretches) {
    if (NC == 1) {  // the whole warp loads and hands on: few requests for lines that all blocks want at once
      uint4 v = make_uint4(0, 0, 0, 0);
      do {
        if (lane < stretches * 8) v = fetch(reinterpret_cast<const uint4*>(from + first) + lane);
      } while (again(clean_halves(v)));
      hand_out(b, v);
      return;
    }
    const bool used = g < p.columns;
    const uint4* row = reinterpret_cast<const uint4*>(from + (size_t)(used ? g : 0) * width + first) + t;
    uint32_t clean;
    do {
      clean = 0;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        uint4 v = make_uint4(0, 0, 0, 0);
        if (used && i / 2 < stretches) v = fetch(row + i * 4);
        b[4 * i] = v.x, b[4 * i + 1] = v.y, b[4 * i + 2] = v.z, b[4 * i + 3] = v.w;
      }
#pragma unroll
      for (int i = 0; i < 32; i++) clean |= clean_halves(b[i]);
    } while (again(clean));
  }

  // One column: from 8 values a lane, in order, to the fragments, of which only the lanes of column 0 hold something.
  __device__ __forceinline__ void hand_out(Fragments& b, uint4 v) {
    uint4* mine = reinterpret_cast<uint4*>(s.staging()) + warp * 32;
    __syncwarp();
    mine[lane] = v;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 8; i++) {
      uint4 w = make_uint4(0, 0, 0, 0);
      if (g == 0) w = mine[i * 4 + t];
      b[4 * i] = w.x, b[4 * i + 1] = w.y, b[4 * i + 2] = w.z, b[4 * i + 3] = w.w;
    }
  }

  static __device__ __forceinline__ void scale8(uint32_t* words, half power) {
    const half2 factor = __half2half2(power);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const half2 scaled = __hmul2(*reinterpret_cast<const half2*>(words + j), factor);
      words[j] = *reinterpret_cast<const uint32_t*>(&scaled);
    }
  }

  // The same for activations of which each 8 are scaled by a power of two, powers[8][width / 8] in the same order: brings
  // each 128-block to one power.
  __device__ __forceinline__ void load_scaled(Fragments& b, Scales& scale, const half* from, const uint8_t* powers, int width, int chunk) {
    if (NC == 1) {
      int e;
      uint4 v;
      do {
        e = fetch(powers + chunk * (CHUNK_K / 8) + lane);
        v = fetch(reinterpret_cast<const uint4*>(from) + chunk * (CHUNK_K / 8) + lane);
      } while (again(clean_halves(v) | (e == 255)));
      e += LEAST_POWER;
      int top = e;
#pragma unroll
      for (int o = 1; o < 16; o *= 2) top = max(top, __shfl_xor_sync(~0u, top, o));
      scale8(&v.x, half_power(e - top));
      hand_out(b, v);
      scale[0][0] = power_of_two(__shfl_sync(~0u, top, 0)), scale[1][0] = power_of_two(__shfl_sync(~0u, top, 16));
      return;
    }
    // A lane loads 8 of its column's 32 powers; those of its own values, two to a stretch and half, lie with its neighbours.
    uint2 mine;
    do mine = fetch(reinterpret_cast<const uint2*>(powers + ((size_t)(g < p.columns ? g : 0) * width + chunk * CHUNK_K) / 8) + t);
    while (again(clean_bytes(mine.x) | clean_bytes(mine.y)));
    load_halves(b, from, width, chunk * CHUNK_K, 4);
#pragma unroll
    for (int block = 0; block < 2; block++) {
      int e[4], top = -127;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const uint32_t word = __shfl_sync(~0u, i % 2 ? mine.y : mine.x, (lane & ~3) + 2 * block + i / 2);
        e[i] = (int)(word >> (8 * t) & 255) + LEAST_POWER;
        top = max(top, e[i]);
      }
      top = max(top, __shfl_xor_sync(~0u, top, 1));
      top = max(top, __shfl_xor_sync(~0u, top, 2));
#pragma unroll
      for (int i = 0; i < 4; i++) scale8(b + 16 * block + 4 * i, half_power(e[i] - top));
      scale[block][0] = power_of_two(__shfl_sync(~0u, top, 8 * t));
      scale[block][1] = power_of_two(__shfl_sync(~0u, top, 8 * t + 4));
    }
  }

  // This warp's share of a unit: 16 rows x 256 k.
  __device__ __forceinline__ void multiply(const Fragments& b, const Scales& scale, const uint8_t* chunk, float (&sum)[4]) {
    const uint4* weights = reinterpret_cast<const uint4*>(chunk) + lane;
    const uint2 scales = *reinterpret_cast<const uint2*>(chunk + CHUNK_WEIGHTS + g * 8);
    float c[2][4] = {};  // of both 128-blocks: two independent chains
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int block = 0; block < 2; block++) {
        const int stretch = 2 * block + i;
        const uint4 low = weights[stretch * 64], high = weights[stretch * 64 + 32];
        const uint32_t l[4] = {low.x, low.y, low.z, low.w}, h[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
        for (int k = 0; k < 4; k++)
          mma16816(c[block], dequantize2<LOW_PAIR>(l[k]), dequantize2<LOW_PAIR>(h[k]), dequantize2<HIGH_PAIR>(l[k]),
                   dequantize2<HIGH_PAIR>(h[k]), b[8 * stretch + 2 * k], b[8 * stretch + 2 * k + 1]);
      }
    }
#pragma unroll
    for (int block = 0; block < 2; block++) {
      const uint32_t both = block ? scales.y : scales.x;
      const float2 w = __half22float2(*reinterpret_cast<const half2*>(&both));  // rows g and g + 8
      const float x0 = scale[block][0], x1 = scale[block][1];
      sum[0] = fmaf(c[block][0], w.x * x0, sum[0]), sum[1] = fmaf(c[block][1], w.x * x1, sum[1]);
      sum[2] = fmaf(c[block][2], w.y * x0, sum[2]), sum[3] = fmaf(c[block][3], w.y * x1, sum[3]);
    }
  }

  // One product of this block's units. The code of all products is this one: code that comes once a layer would have to
  // be fetched anew each time.
  __device__ __forceinline__ void product(int layer, int which) {
    const Matrix& m = p.matrices[which];
    const int mine = turn(layer, which);
    if (mine >= groups_of(m)) return;
    // Which tile of a group, and which chunk of it, is this warp's.
    const int tile = m.parts == 1 ? warp / m.unit : 0, chunk = m.parts == 1 ? warp % m.unit : warp;
    const bool works = m.parts > 1 ? warp < m.unit : warp < m.unit * m.group;
    const bool normed = which == QKV || which == XQ || which == WI || which == HEAD;
    Fragments b = {};
    Scales scale = {{1, 1}, {1, 1}};
    STAMP(2, layer, 100 * which);
    wait_ready();
    STAMP(2, layer, 100 * which + 1);
    if (normed) {
      const int width = m.chunks * CHUNK_K, before = (which == XQ ? 1 : which == WI ? 2 : 0) * MAX_COLUMNS * width;
      if (works)
        load_scaled(b, scale, in_slot<const half>(p, p.normed, layer) + before, in_slot<const uint8_t>(p, p.normedPowers, layer) + before / 8, width, chunk);
    } else if (which != WO) {
      const int width = m.chunks * CHUNK_K;
      if (works) load_halves(b, in_slot<const half>(p, p.attended, layer) + (which == XO ? MAX_COLUMNS * width : 0), width, chunk * CHUNK_K, 4);
    }
    int loaded = -1;  // the part of wo whose activations are there; of normed products: 0 once the norm's factors are
    // The norm's factors, for which no product waits: they join the sums of this warp's first unit and of all others.
    float2 inverse = make_float2(0, 0);
    for_units<Shape<NC>::TILES_IN_PARTS>(m, mine, [&](int group, int part, int) {
      const int inPart = chunks_in_part(m, part);
      const bool active = works && chunk < inPart && tile < tiles_in_group(m, group);
      if (which == WO && part != loaded) {
        if (active) load_scaled(b, scale, in_slot<const half>(p, p.hidden, layer), in_slot<const uint8_t>(p, p.exponents, layer), m.chunks * CHUNK_K, part * m.unit + chunk);
        loaded = part;
      }
      const int stages = (tiles_in_group(m, group) * inPart + STAGE_CHUNKS - 1) / STAGE_CHUNKS;
      float sum[4] = {0, 0, 0, 0};
      if (warp < stages * STAGE_CHUNKS) {
        const int slot = ring.slot_at(warp / STAGE_CHUNKS);
        barrier_wait(s.full(slot), ring.phase_at(warp / STAGE_CHUNKS));
        STAMP(2, layer, 100 * which + 10);
        if (active) multiply(b, scale, s.stage(slot) + (warp % STAGE_CHUNKS) * CHUNK_BYTES, sum);
        __syncwarp();
        if (lane == 0) barrier_arrive(s.empty(slot));
      }
      if (normed) {
        if (loaded < 0) {
          barrier_wait(s.scaled(), scaledPhase);
          inverse = NC == 1 ? make_float2(s.inverse()[0], 0) : *reinterpret_cast<const float2*>(s.inverse() + 2 * t);
          loaded = 0;
        }
        sum[0] *= inverse.x, sum[1] *= inverse.y, sum[2] *= inverse.x, sum[3] *= inverse.y;
      }
      ring.advance(stages);
      const int buffer = unit % Shape<NC>::SUMS;
      STAMP(2, layer, 100 * which + 11);
      s.wait_empty(unit);
      float* out = reinterpret_cast<float*>(s.work()) + buffer * Shape<NC>::SUM_FLOATS + warp * TILE_ROWS * NC;
      if (NC == 1) {
        if (t == 0) out[g] = sum[0], out[g + 8] = sum[2];
      } else {
        *reinterpret_cast<float2*>(out + g * NC + 2 * t) = make_float2(sum[0], sum[1]);
        *reinterpret_cast<float2*>(out + (g + 8) * NC + 2 * t) = make_float2(sum[2], sum[3]);
      }
      s.tell_full(unit);
      STAMP(2, layer, 100 * which + 12);
      unit++;
    });
    if (normed) scaledPhase ^= 1;
  }

  __device__ void self_attention(int layer);
  __device__ void cross_attention(int layer);
  __device__ void join_parts(const float* pieces, half* attended, int head, int stride);

  // Weighted mean of what `count` blocks left for four dimensions; {maximum, total weight} of each stand at `heads`. Eight
  // pieces are on their way at a time. Stores those dimensions that there are, from `place` of a row of fp16 activations.
  __device__ __forceinline__ void join_pieces(half* row, int place, const float* values, const float* heads, int stride, int count, int dim) {
    float top = -1e30f, total = 0, sum[4] = {};
#pragma unroll 1
    for (int first = 0; first < count; first += 8) {
      float2 h[8];
      float4 v[8];
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const size_t from = (size_t)min(first + i, count - 1) * stride;
        h[i] = fetch(reinterpret_cast<const float2*>(heads + from));
        v[i] = fetch(reinterpret_cast<const float4*>(values + from + dim));
      }
      float high = top;
#pragma unroll
      for (int i = 0; i < 8; i++) high = fmaxf(high, h[i].x);
      const float old = __expf(top - high);
      total *= old, top = high;
#pragma unroll
      for (int j = 0; j < 4; j++) sum[j] *= old;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float factor = first + i < count ? __expf(h[i].x - high) : 0.f;
        total = fmaf(factor, h[i].y, total);
        sum[0] = fmaf(factor, v[i].x, sum[0]), sum[1] = fmaf(factor, v[i].y, sum[1]);
        sum[2] = fmaf(factor, v[i].z, sum[2]), sum[3] = fmaf(factor, v[i].w, sum[3]);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (dim + j < p.dKv) store(row + stored(place + dim + j), __float2half(__fdividef(sum[j], total)));
  }

  __device__ void run() {
#pragma unroll 1
    for (int layer = 0; layer <= p.layers; layer++) {
#pragma unroll 1
      for (int which = layer < p.layers ? QKV : HEAD; which <= (layer < p.layers ? WO : HEAD); which++) {
        product(layer, which);
        if (which == QKV) self_attention(layer);
        if (which == XQ) cross_attention(layer);
      }
    }
  }
};

}  // namespace
