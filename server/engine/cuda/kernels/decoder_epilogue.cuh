// The epilogue warps: sums of partial products, what follows each product, and the meeting points of the grid.
#pragma once
#include "decoder_best.cuh"
#include "decoder_exchange.cuh"

namespace {

// 1 / rms of the residual stream of one column, from what each block left. Lanes of the same 4 give the same column. One
// warp of a block does it: all blocks read the same few lines at once, and the cache serves a line to one at a time.
__device__ __forceinline__ float inverse_rms(const StepParams& p, const float* squares, int column) {
  constexpr int BATCH = 9;  // loads under way at a time: up to 144 blocks in one go
  const int n = p.gridPad / 4;
  const float4* from = reinterpret_cast<const float4*>(squares) + column * n;
  float sum;
  uint32_t clean;
  do {
    sum = 0, clean = 0;
#pragma unroll 1
    for (int first = threadIdx.x & 3; first < n; first += 4 * BATCH) {
      float4 v[BATCH];
#pragma unroll
      for (int i = 0; i < BATCH; i++) v[i] = first + 4 * i < n ? fetch(from + first + 4 * i) : make_float4(0, 0, 0, 0);
#pragma unroll
      for (int i = 0; i < BATCH; i++) sum += (v[i].x + v[i].y) + (v[i].z + v[i].w), clean |= clean_floats(v[i]);
    }
  } while (again(clean));
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  return rsqrtf(sum / p.dModel + p.epsilon);
}

__device__ __forceinline__ float activate(float v, int kind) {
  if (kind == RELU) return fmaxf(v, 0.f);
  // gelu_new(v) = v (1 + tanh(u)) / 2 = v / (1 + exp(-2u)), u = sqrt(2 / pi) (v + 0.044715 v^3)
  const float u = kind == SILU ? v : 1.5957691216057308f * (v + 0.044715f * v * v * v);
  return __fdividef(v, 1.f + __expf(-u));
}

template <int NC>
struct Epilogue {
  const StepParams& p;
  const Shared<NC> s;
  int unit = 0;
  const int lane = threadIdx.x & 31;
  // Two warps take the units of a phase in turn. The first one deals with the other blocks.
  const bool second = threadIdx.x >> 5 == SECOND_EPILOGUE_WARP;
  // The values of a tile that a lane holds: NC = 1: row = lane (upper half idle); else columns 4 (lane & 1) .. of row lane / 2.
  static constexpr int VALUES = NC == 1 ? 1 : 4;
  const int row = NC == 1 ? lane & 15 : lane >> 1, firstColumn = NC == 1 ? 0 : (lane & 1) * 4;
  const bool holds = NC > 1 || lane < 16;

  __device__ Epilogue(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared) {}

  __device__ __forceinline__ unsigned* point(int layer, int which) {
    return at<unsigned>(p.counters) + (layer * POINTS + which) * COUNTER_WORDS;
  }

  // After all stores of this warp: what they bring is on its way, and soon there.
  __device__ __forceinline__ void arrive(unsigned* counter) {
    __syncwarp();
    if (lane == 0) hint(counter);
  }

  // Waits for the grid, then lets this block's consumers go on. All of them must have gone on from the last time before:
  // a barrier that is two phases ahead looks like one that has not moved.
  // Before a product of normed activations it then gives them the norm's factors, from these sums of squares.
  uint32_t takenPhase = 1;
  __device__ __forceinline__ void open(const unsigned* counter, unsigned arrivals, const float* squares) {
    if (lane == 0) {
      wait_for(counter, arrivals - (arrivals * p.late >> 7));
      barrier_wait(s.taken(), takenPhase);
      barrier_arrive(s.ready());
    }
    takenPhase ^= 1;
    __syncwarp();
    if (!squares) return;
    const int column = NC == 1 ? 0 : lane >> 2;
    const float inverse = inverse_rms(p, squares, column < p.columns ? column : 0);
    if ((lane & 3) == 0 && (NC > 1 || lane == 0)) s.inverse()[column] = inverse;
    __syncwarp();
    if (lane == 0) barrier_arrive(s.scaled());
  }

  // Over the rows of a tile: the sum of one value a lane, in every lane of the same columns.
  static __device__ __forceinline__ float sum_rows(float v) {
#pragma unroll
    for (int o = 8; o; o /= 2) v += __shfl_xor_sync(~0u, v, NC == 1 ? o : 2 * o);
    return v;
  }

  // Sums of squares over the rows of all of this block's tiles.
  __device__ __forceinline__ void store_squares(const float (&sums)[VALUES], float* squares, int mine) {
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const int column = firstColumn + i;
      if (row == 0 && holds && column < p.columns) store(squares + column * p.gridPad + mine, sums[i]);
    }
  }

  // Stores values at k of [8][width], in the order of `stored`, scaled by the power of two that k's 8 neighbours share.
  __device__ __forceinline__ void store_scaled(const float (&v)[VALUES], half* to, uint8_t* powers, unsigned width, int k, bool stores) {
    int e[VALUES];
    half h[VALUES];
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      float top = fabsf(v[i]);
#pragma unroll
      for (int o = 1; o < 8; o *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, NC == 1 ? o : 2 * o));
      e[i] = min(max((int)(__float_as_uint(top) >> 23) - 127, LEAST_POWER), 126);
      h[i] = __float2half(v[i] * power_of_two(-e[i]));
    }
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const unsigned place = (firstColumn + i) * width + stored(k);
      if (stores && firstColumn + i < p.columns) {
        store(to + place, h[i]);
        if (k % 8 == 0) store(powers + place / 8, (uint8_t)(e[i] - LEAST_POWER));
      }
    }
  }

  // Stores row k of the residual stream: as it is, and as the next product takes it, but for the norm's factor. That joins
  // the products' sums: it is not known before all blocks are done, and so each value is rounded once.
  __device__ __forceinline__ void store_x(const float (&v)[VALUES], float gain, int k, int layer, int place) {
    const Stage to = stage(p, layer, place);
    const unsigned width = p.matrices[WI].chunks * CHUNK_K;
    float g[VALUES];
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      g[i] = v[i] * gain;
      if (holds && firstColumn + i < p.columns) store(to.x + (firstColumn + i) * width + k, v[i]);
    }
    store_scaled(g, to.normed, to.powers, width, k, holds);
  }

  // Where in a cache the first head of a column's new token begins.
  __device__ __forceinline__ unsigned cache_at(int column) const {
    const unsigned fed = p.firstColumn + column, row = p.perRow == 1 ? fed : fed / p.perRow;
    return row * p.heads * p.capacity + p.length + (fed - row * p.perRow);
  }

  // The sum of a tile's partial sums: of the first eight chunks, of the others, and of both. All loads before the first
  // addition, because each unit of a phase waits for this.
  __device__ __forceinline__ void sum_chunks(float (&v)[VALUES], const float* sums, int chunks) {
    constexpr int HALF = CONSUMER_WARPS / 2;
    if (NC == 1) {  // half a warp each
      const int first = (lane >> 4) * HALF;
      float w[HALF], sum = 0;
#pragma unroll
      for (int i = 0; i < HALF; i++) w[i] = first + i < chunks ? sums[(first + i) * TILE_ROWS + row] : 0.f;
#pragma unroll
      for (int i = 0; i < HALF; i++) sum += w[i];
      v[0] = __shfl_sync(~0u, sum, row) + __shfl_sync(~0u, sum, row + 16);
    } else {
      const float4* from = reinterpret_cast<const float4*>(sums) + lane;
      float half[2][VALUES] = {};
#pragma unroll
      for (int h = 0; h < 4; h++) {  // as many loads at a time as there are registers for
        float4 w[HALF / 2];
#pragma unroll
        for (int i = 0; i < HALF / 2; i++)
          w[i] = h * HALF / 2 + i < chunks ? from[(h * HALF / 2 + i) * (TILE_ROWS * NC / 4)] : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < HALF / 2; i++)
          half[h / 2][0] += w[i].x, half[h / 2][1] += w[i].y, half[h / 2][2] += w[i].z, half[h / 2][3] += w[i].w;
      }
#pragma unroll
      for (int i = 0; i < VALUES; i++) v[i] = half[0][i] + half[1][i];
    }
  }

  // Adds up the partial sums of each of this block's units in order, and does what follows each product. Twice compiled:
  // for the products of a layer, and for the output layer with its running maxima.
  template <bool OUTPUT>
  __device__ __forceinline__ void product(int layer, int which, Best* best) {
    int number = 0;  // of a unit in this product
    const Matrix& m = p.matrices[which];
    const int mine = turn(layer, which), dp = p.matrices[WI].chunks * CHUNK_K;
    const int inner = p.heads << p.widthShift, ip = (inner + CHUNK_K - 1) & ~(CHUNK_K - 1);
    const bool adds = !OUTPUT && (which == O || which == XO || which == WO);
    const half* gains = at<const half>(p.norms) + (layer * 3 + (which == O ? 1 : which == XO ? 2 : 3)) * dp;  // of the next norm
    float squares[VALUES] = {}, old[VALUES] = {}, gain = 0;
    const int before = which == O ? 0 : which == XO ? 1 : 2, after = which == WO ? 0 : before + 1, layerAfter = which == WO ? layer + 1 : layer;
    for_units<Shape<NC>::TILES_IN_PARTS>(m, mine, [&](int group, int part, int place) {
      // all parts of a tile by the same warp
      if (((m.parts > 1 ? place : number++) & 1) != (int)second) {
        unit++;
        return;
      }
      const int inPart = chunks_in_part(m, part), tiles = tiles_in_group(m, group), buffer = unit % Shape<NC>::SUMS;
      const auto load_x = [&](int tile) {
#pragma unroll
        for (int i = 0; i < VALUES; i++)
          if (firstColumn + i < p.columns) old[i] = fetch(stage(p, layer, before).x + (firstColumn + i) * dp + tile * TILE_ROWS + row);
        gain = __half2float(__ldg(gains + tile * TILE_ROWS + row));
      };
      if (adds && part == m.parts - 1) load_x(group * m.group);
      STAMP(1, layer, 100 * which + 10);
      s.wait_full(unit);
      STAMP(1, layer, 100 * which + 11);
      const float* sums = reinterpret_cast<const float*>(s.work()) + buffer * Shape<NC>::SUM_FLOATS;
#pragma unroll 1
      for (int in = 0; in < tiles; in++) {
        float v[VALUES];
        sum_chunks(v, sums + in * inPart * TILE_ROWS * NC, inPart);
        if (in == tiles - 1) s.tell_empty(unit);
        if (m.parts > 1) {
          float* total = s.totals() + place * TILE_ROWS * NC + (NC == 1 ? row : lane * 4);
#pragma unroll
          for (int i = 0; i < VALUES; i++) {
            if (part > 0) v[i] += total[i];
            if (part < m.parts - 1 && holds) total[i] = v[i];
          }
          if (part < m.parts - 1) continue;
        }
        const int tile = group * m.group + in, n = tile * TILE_ROWS + row;
        if (adds) {  // x += W a, and the sums of squares that the next norm needs
          if (in > 0) load_x(tile);
          while (again(clean_old(old))) load_x(tile);
#pragma unroll
          for (int i = 0; i < VALUES; i++) v[i] += old[i], squares[i] += v[i] * v[i];
          store_x(v, gain, n, layerAfter, after);
        } else if (!OUTPUT && which == WI) {
          float h[VALUES];
#pragma unroll
          for (int i = 0; i < VALUES; i++) h[i] = activate(v[i], p.activation);
          if (p.gated) {
#pragma unroll
            for (int i = 0; i < VALUES; i++) h[i] *= __shfl_down_sync(~0u, v[i], NC == 1 ? 8 : 16);
          }
          store_scaled(h, in_slot<half>(p, p.hidden, layer), in_slot<uint8_t>(p, p.exponents, layer), p.matrices[WO].chunks * CHUNK_K,
                       p.gated ? tile * 8 + (row & 7) : n, holds && (row < 8 || !p.gated));
        } else if (!OUTPUT && which == QKV) {
          const int third = (n >= inner) + (n >= 2 * inner), in3 = n - third * inner;
          half* cache = reinterpret_cast<half*>(at<uint8_t>(third == 1 ? p.keys : p.values) + layer * p.cacheStride);
          const int head = in3 >> p.widthShift, dim = in3 & (p.headWidth - 1);
#pragma unroll
          for (int i = 0; i < VALUES; i++) {
            if (!holds || firstColumn + i >= p.columns) continue;
            if (third == 0) {
              store(in_slot<float>(p, p.q, layer) + (firstColumn + i) * ip + in3, v[i]);
              continue;
            }
            store(in_slot<half>(p, p.fresh, layer) + ((third - 1) * MAX_COLUMNS + firstColumn + i) * ip + in3, __float2half(v[i]));
            store(cache + ((size_t)(cache_at(firstColumn + i) + head * p.capacity) << p.widthShift) + dim, __float2half(v[i]));
          }
        } else if (!OUTPUT && which == XQ) {
#pragma unroll
          for (int i = 0; i < VALUES; i++)
            if (holds && firstColumn + i < p.columns) store(in_slot<half>(p, p.xqueries, layer) + (firstColumn + i) * ip + stored(n), __float2half(v[i]));
        } else if (OUTPUT) {
#pragma unroll
          for (int i = 0; i < VALUES; i++) {
            const float logit = v[i] * p.logitScale;
            if (!holds || n >= p.vocab || firstColumn + i >= p.columns) continue;
            store(at<float>(p.logits) + (size_t)(firstColumn + i) * m.tiles * TILE_ROWS + n, logit);
            best[i].add(logit, n);
          }
        }
      }
      STAMP(1, layer, 100 * which + 12);
      unit++;
    });
    if (OUTPUT) return;
    if (second && adds) hand_over(squares);
    epilogues_sync();
    if (second || !adds || mine >= groups_of(m)) return;
#pragma unroll
    for (int i = 0; i < VALUES; i++) squares[i] = sum_rows(squares[i]) + s.handed()[firstColumn + i];
    store_squares(squares, stage(p, layerAfter, after).squares, mine);
  }

  static __device__ __forceinline__ uint32_t clean_old(const float (&old)[VALUES]) {
    uint32_t clean = 0;
#pragma unroll
    for (int i = 0; i < VALUES; i++) clean |= clean_float(old[i]);
    return clean;
  }

  __device__ void hand_over(const float (&squares)[VALUES]) {
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const float sum = sum_rows(squares[i]);
      if (row == 0 && holds) s.handed()[firstColumn + i] = sum;
    }
  }

  __device__ void embed() {
    const int mine = turn(p.layers, O), groups = groups_of(p.matrices[O]);
    float squares[VALUES] = {};
    for (int group = mine; group < groups; group += gridDim.x)
      for (int tile = group * p.matrices[O].group; tile < group * p.matrices[O].group + tiles_in_group(p.matrices[O], group); tile++) {
        const int k = tile * TILE_ROWS + row;
        float v[VALUES] = {};
#pragma unroll
        for (int i = 0; i < VALUES; i++) {
          const int column = firstColumn + i;
          if (column < p.columns) v[i] = embedding1(at<const uint8_t>(p.embedding), p.matrices[WI].chunks, p.tokens[column], k);
          squares[i] += v[i] * v[i];
        }
        store_x(v, __half2float(__ldg(at<const half>(p.norms) + k)), k, 0, 0);
      }
#pragma unroll
    for (int i = 0; i < VALUES; i++) squares[i] = sum_rows(squares[i]);
    if (mine < groups) store_squares(squares, stage(p, 0, 0).squares, mine);
  }

  // Joins this block's best logits with the others'; the last block to finish writes the results.
  __device__ void output() {
    const int mine = turn(p.layers, HEAD), groups = groups_of(p.matrices[HEAD]), width = p.matrices[HEAD].tiles * TILE_ROWS;
    if (mine >= groups) return;
    Best best[VALUES];
    if (!second) open(point(p.layers, 0), gridDim.x, stage(p, p.layers, 0).squares);
    epilogues_sync();
    product<true>(p.layers, HEAD, best);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
#pragma unroll
      for (int o = 8; o; o /= 2) best[i].join_lane(NC == 1 ? o : 2 * o);
      float* to = s.handed() + (firstColumn + i) * 3;
      if (second && row == 0 && holds) to[0] = best[i].top, to[1] = best[i].sum, to[2] = __int_as_float(best[i].id);
    }
    epilogues_sync();
    if (second) return;
    float* bests = at<float>(p.bests);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const float* other = s.handed() + (firstColumn + i) * 3;
      best[i].join(other[0], other[1], __float_as_int(other[2]));
      if (row == 0 && holds && firstColumn + i < p.columns) {
        float* to = bests + ((size_t)(firstColumn + i) * p.gridPad + mine) * 3;
        store(to, best[i].top), store(to + 1, best[i].sum), store(to + 2, __int_as_float(best[i].id));
      }
    }
    const int writers = min(groups, (int)gridDim.x);
    unsigned before = 0;
    __syncwarp();
    if (lane == 0) before = count_in_and_read(point(p.layers, 1));
    before = __shfl_sync(~0u, before, 0);
    if (before != (unsigned)writers - 1) return;
    for (int column = 0; column < p.columns; column++) {
      Best all;
      for (int i = lane; i < writers; i += 32) {
        const float* from = bests + ((size_t)column * p.gridPad + i) * 3;
        all.join(fetch(from), fetch(from + 1), __float_as_int(fetch(from + 2)));
      }
#pragma unroll
      for (int o = 16; o; o /= 2) all.join_lane(o);
      if (lane == 0) {
        const float target = fetch(at<const float>(p.logits) + (size_t)column * width + p.targets[column]);
        const float logSum = __logf(all.sum);
        at<Result>(p.results)[column] = {all.id, -logSum, target - all.top - logSum, all.top + logSum};
      }
    }
  }

  // Phases of a layer: 0 qkv, 1 self-attention, 2 o, 3 xq, 4 cross-attention, 5 xo, 6 wi, 7 wo. Before phase i the grid
  // meets at point i, and after it at point i + 1 (0 of the next layer). A block without work in a phase does not wait.
  __device__ void run() {
    const bool self = (int)blockIdx.x < p.columns * p.heads * ((p.length + p.perRow + SPLIT_KEYS - 1) / SPLIT_KEYS);
    const bool cross = (int)blockIdx.x < p.heads * p.crossParts;
    if (!second) {
      embed();
      arrive(point(0, 0));
    }
#pragma unroll 1
    for (int layer = 0; layer < p.layers; layer++) {
#pragma unroll 1
      for (int phase = 0; phase < 8; phase++) {
        const bool attends = phase == 1 || phase == 4;
        const int which = phase - (phase > 1) - (phase > 4);
        const bool works = phase == 1 ? self : phase == 4 ? cross : turn(layer, which) < groups_of(p.matrices[which]);
        const unsigned arrivals = phase == 2 ? p.columns * p.heads : phase == 5 ? p.heads : gridDim.x;
        if (works && !second) open(point(layer, phase), arrivals, phase % 3 == 0 ? stage(p, layer, phase / 3).squares : nullptr);
        // wo is the first to write to the next layer's slot
        if (phase == 7 && !second && lane == 0) wait_for(cleaned(p, max(layer - 1, 0)), gridDim.x);
        STAMP(1, layer, 6000 + phase);
        if (attends) continue;
        epilogues_sync();
        product<false>(layer, which, nullptr);
        if (!second) arrive(phase == 7 ? point(layer + 1, 0) : point(layer, phase + 1));
        STAMP(1, layer, 5000 + phase);
      }
    }
    output();
  }
};

}  // namespace
