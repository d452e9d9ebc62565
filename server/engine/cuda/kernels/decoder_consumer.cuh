// The consumers: 16 warps that load their part of the activations into registers and multiply whatever the ring brings.
#pragma once
#include "decoder_layout.cuh"

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

  // The norm's weights, which may be read before the residual stream is ready.
  __device__ __forceinline__ void load_norm_weights(Fragments& b, const half* weights, int chunk) {
    if (NC == 1) {
      const uint4 v = __ldg(reinterpret_cast<const uint4*>(weights + chunk * CHUNK_K + lane * 8));
      b[0] = v.x, b[1] = v.y, b[2] = v.z, b[3] = v.w;
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const uint4 v = __ldg(reinterpret_cast<const uint4*>(weights + chunk * CHUNK_K + (i / 2) * 64 + t * 16 + (i % 2) * 8));
        b[4 * i] = v.x, b[4 * i + 1] = v.y, b[4 * i + 2] = v.z, b[4 * i + 3] = v.w;
      }
    }
  }

  static __device__ __forceinline__ uint32_t norm2(float x, float y, float inverse, uint32_t weights) {
    const float2 w = __half22float2(*reinterpret_cast<const half2*>(&weights));
    return pack_half2(x * inverse * w.x, y * inverse * w.y);
  }

  __device__ __forceinline__ void load_normed(Fragments& b, int chunk) {
    const int width = p.matrices[WI].chunks * CHUNK_K;  // Dp
    if (NC == 1) {
      const float4* from = at<const float4>(p.x) + (chunk * CHUNK_K) / 4 + lane * 2;
      const float4 u = __ldcg(from), v = __ldcg(from + 1);
      barrier_wait(s.scaled(), scaledPhase);
      const float inverse = s.inverse()[0];
      uint4 h;
      h.x = norm2(u.x, u.y, inverse, b[0]), h.y = norm2(u.z, u.w, inverse, b[1]);
      h.z = norm2(v.x, v.y, inverse, b[2]), h.w = norm2(v.z, v.w, inverse, b[3]);
      half* mine = s.staging() + warp * CHUNK_K;
      __syncwarp();
      reinterpret_cast<uint4*>(mine)[lane] = h;
      __syncwarp();
#pragma unroll
      for (int i = 0; i < 8; i++) {
        uint4 w = make_uint4(0, 0, 0, 0);
        if (g == 0) w = *reinterpret_cast<const uint4*>(mine + (i / 2) * 64 + t * 16 + (i % 2) * 8);
        b[4 * i] = w.x, b[4 * i + 1] = w.y, b[4 * i + 2] = w.z, b[4 * i + 3] = w.w;
      }
    } else {
      const bool used = g < p.columns;
      const float4* from = at<const float4>(p.x) + ((size_t)(used ? g : 0) * width + chunk * CHUNK_K + t * 16) / 4;
      float4 v[8];
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = __ldcg(from + (i / 4) * 16 + i % 4);
      barrier_wait(s.scaled(), scaledPhase);
      const float inverse = used ? s.inverse()[g] : 0.f;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        b[2 * i] = norm2(v[i].x, v[i].y, inverse, b[2 * i]);
        b[2 * i + 1] = norm2(v[i].z, v[i].w, inverse, b[2 * i + 1]);
      }
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = __ldcg(from + 32 + (i / 4) * 16 + i % 4);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        b[16 + 2 * i] = norm2(v[i].x, v[i].y, inverse, b[16 + 2 * i]);
        b[17 + 2 * i] = norm2(v[i].z, v[i].w, inverse, b[17 + 2 * i]);
      }
    }
  }

  // fp16 activations [8][width]; `stretches` of 64 k, from k = first.
  __device__ __forceinline__ void load_halves(Fragments& b, const half* from, int width, int first, int stretches) {
    const bool used = g < p.columns;
    const uint4* row = reinterpret_cast<const uint4*>(from + (size_t)(used ? g : 0) * width + first + t * 16);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      uint4 v = make_uint4(0, 0, 0, 0);
      if (used && i / 2 < stretches) v = __ldcg(row + (i / 2) * 8 + i % 2);
      b[4 * i] = v.x, b[4 * i + 1] = v.y, b[4 * i + 2] = v.z, b[4 * i + 3] = v.w;
    }
  }

  // The input of wo: brings each 128-block to one power of two.
  __device__ __forceinline__ void load_scaled(Fragments& b, Scales& scale, int chunk) {
    const int width = p.matrices[WO].chunks * CHUNK_K;  // Fp
    const bool used = g < p.columns;
    const uint16_t* powers = at<const uint16_t>(p.exponents) + ((size_t)(used ? g : 0) * width + chunk * CHUNK_K) / 16 + t;
    uint16_t e[4];
#pragma unroll
    for (int i = 0; i < 4; i++) e[i] = __ldcg(powers + i * 4);
    load_halves(b, at<const half>(p.hidden), width, chunk * CHUNK_K, 4);
#pragma unroll
    for (int block = 0; block < 2; block++) {
      int top = -127;
#pragma unroll
      for (int i = 0; i < 2; i++) top = max(top, max((int)(int8_t)(e[2 * block + i] & 255), (int)(int8_t)(e[2 * block + i] >> 8)));
      top = max(top, __shfl_xor_sync(~0u, top, 1));
      top = max(top, __shfl_xor_sync(~0u, top, 2));
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const uint16_t both = e[2 * block + i / 2];
        const half2 factor = __half2half2(half_power((int)(int8_t)(i % 2 ? both >> 8 : both & 255) - top));
#pragma unroll
        for (int j = 0; j < 4; j++) {
          uint32_t& word = b[16 * block + 4 * i + j];
          const half2 scaled = __hmul2(*reinterpret_cast<half2*>(&word), factor);
          word = *reinterpret_cast<const uint32_t*>(&scaled);
        }
      }
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
      const float x0 = scale[block][0], x1 = scale[block][1];  // 1 but for wo
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
    if (normed && works) {
      const int norm = layer * 3 + (which == XQ ? 1 : which == WI ? 2 : 0);
      load_norm_weights(b, at<const half>(p.norms) + (size_t)norm * m.chunks * CHUNK_K, chunk);
    }
    wait_ready();
    STAMP(2, layer, 100 * which + 1);
    if (normed) {
      if (works) load_normed(b, chunk);
      scaledPhase ^= 1;
    } else if (which != WO) {
      if (works) load_halves(b, at<const half>(p.attended), m.chunks * CHUNK_K, chunk * CHUNK_K, 4);
    }
    int loaded = -1;
    for_units<Shape<NC>::TILES_IN_PARTS>(m, mine, [&](int group, int part, int) {
      const int inPart = chunks_in_part(m, part);
      const bool active = works && chunk < inPart && tile < tiles_in_group(m, group);
      if (which == WO && part != loaded) {
        if (active) load_scaled(b, scale, part * m.unit + chunk);
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
      ring.advance(stages);
      const int buffer = unit % Shape<NC>::SUMS;
      STAMP(2, layer, 100 * which + 11);
      barrier_wait(s.sums_empty(buffer), ((unit / Shape<NC>::SUMS) & 1) ^ 1);
      float* out = reinterpret_cast<float*>(s.work()) + buffer * Shape<NC>::SUM_FLOATS + warp * TILE_ROWS * NC;
      if (NC == 1) {
        if (t == 0) out[g] = sum[0], out[g + 8] = sum[2];
      } else {
        *reinterpret_cast<float2*>(out + g * NC + 2 * t) = make_float2(sum[0], sum[1]);
        *reinterpret_cast<float2*>(out + (g + 8) * NC + 2 * t) = make_float2(sum[2], sum[3]);
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(s.sums_full(buffer));
      STAMP(2, layer, 100 * which + 12);
      unit++;
    });
  }

  __device__ void self_attention(int layer);
  __device__ void cross_attention(int layer);

  // Weighted mean of what `count` blocks left for one dimension; {maximum, total weight} of each stand at `heads`. Eight
  // loads are under way at a time.
  static __device__ __forceinline__ float join_pieces(const float* values, const float* heads, int stride, int count, int dim) {
    float top = -1e30f, total = 0, sum = 0;
#pragma unroll 1
    for (int first = 0; first < count; first += 8) {
      float2 h[8];
      float v[8];
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const size_t from = (size_t)min(first + i, count - 1) * stride;
        h[i] = __ldcg(reinterpret_cast<const float2*>(heads + from));
        v[i] = __ldcg(values + from + dim);
      }
      float high = top;
#pragma unroll
      for (int i = 0; i < 8; i++) high = fmaxf(high, h[i].x);
      const float old = __expf(top - high);
      total *= old, sum *= old, top = high;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const float factor = first + i < count ? __expf(h[i].x - high) : 0.f;
        total = fmaf(factor, h[i].y, total), sum = fmaf(factor, v[i], sum);
      }
    }
    return __fdividef(sum, total);
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
