// How blocks hand activations to one another: by the values themselves, without fences.
//
// A fence waits for everything that its multiprocessor has under way, the weights' copies too: eight of them a layer cost a
// tenth of a step. So nobody publishes anything here. Memory through which blocks exchange values is *clean* beforehand: all
// bits are set, a pattern that no value has (results that are no numbers are 0x7fff... on a card; powers of two are stored
// from 0 on). Who needs values loads them, and loads them again as long as one is still clean. The counters of the meeting
// points only say when it is worth to begin.
//
// Each layer has its own slot, of three that take turns. What a slot needs to be clean again costs no one time: while
// layer l runs, a warp of its own cleans the slot of layer l - 1, for layer l + 2.
//   - Nobody reads that slot any more once a block has finished qkv of layer l: it has had all of layer l - 1's results,
//     and they were computed from all that was read there.
//   - No store of layer l + 2 can be overtaken by the cleaning: each block counts in behind it with release (a fence, for
//     which nobody waits), and no block starts wo of layer l + 1, the first to write there, before all have.
// When a step begins, its first slot is clean; it cleans the other two, in which the step before ended (`dirty` columns).
#pragma once
#include "decoder_layout.cuh"

namespace {

constexpr int EXCHANGE_SLOTS = 3;

// An array of the slot of this layer. `base` is its place in slot 0.
template <typename T>
__device__ __forceinline__ T* in_slot(const StepParams& p, uint64_t base, int layer) {
  return at<T>(base + (uint64_t)((unsigned)opaque(p.slot + layer) % EXCHANGE_SLOTS) * p.slotBytes);
}

// The residual stream at one of a layer's three places: before self-attention, cross-attention, the feed-forward.
struct Stage {
  float* x;
  half* normed;
  uint8_t* powers;
  float* squares;
};
__device__ __forceinline__ Stage stage(const StepParams& p, int layer, int place) {
  const int before = place * MAX_COLUMNS, width = p.matrices[WI].chunks * CHUNK_K;
  return {in_slot<float>(p, p.x, layer) + before * width, in_slot<half>(p, p.normed, layer) + before * width,
          in_slot<uint8_t>(p, p.normedPowers, layer) + before * width / 8, in_slot<float>(p, p.squares, layer) + before * p.gridPad};
}

// Whether a value is still clean: not 0 if one is.
__device__ __forceinline__ uint32_t clean_halves(uint32_t two) { return (~two - 0x00010001u) & two & 0x80008000u; }
__device__ __forceinline__ uint32_t clean_halves(uint4 v) {
  return clean_halves(v.x) | clean_halves(v.y) | clean_halves(v.z) | clean_halves(v.w);
}
__device__ __forceinline__ uint32_t clean_bytes(uint32_t four) { return (~four - 0x01010101u) & four & 0x80808080u; }
__device__ __forceinline__ uint32_t clean_float(float v) { return __float_as_uint(v) == ~0u; }
__device__ __forceinline__ uint32_t clean_floats(float4 v) {
  return clean_float(v.x) | clean_float(v.y) | clean_float(v.z) | clean_float(v.w);
}

// Whether a warp has to load again.
__device__ __forceinline__ bool again(uint32_t clean) {
#ifdef FLAN_NO_CHECK  // to see that the checks find it
  return false;
#else
  const bool any = __any_sync(~0u, clean != 0);
  if (any) __syncwarp();  // also says that the loads before it are not those after it
  return any;
#endif
}

// Powers of two are stored from 0 on, as -100 to 126.
constexpr int LEAST_POWER = -100;

// How the values of a row lie, and so which 16 bytes hold what is never written and stays 0 (padding beyond `valid` values).
enum Order { FLOATS, HALVES, POWERS };  // fp32 as they come; fp16, and one byte for each 8 of them, as `stored`

__device__ __forceinline__ uint4 clean_piece(Order order, int piece, int valid) {
  const auto k_of = [](int place) { return (place & ~63) | (place & 32) >> 2 | (place & 24) << 1 | (place & 7); };
  uint32_t words[4];
#pragma unroll
  for (int w = 0; w < 4; w++) {
    words[w] = 0;
    if (order == FLOATS) words[w] = piece * 4 + w < valid ? ~0u : 0;
    if (order == HALVES) words[w] = k_of(piece * 8) < valid ? ~0u : 0;
    if (order == POWERS)
      for (int b = 0; b < 4; b++)
        if (k_of((piece * 16 + w * 4 + b) * 8) < valid) words[w] |= 255u << (8 * b);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// Cleans the slot of a layer, by `threads` threads of which this is number `thread`.
struct Cleaner {
  const StepParams& p;
  const int thread, threads;

  // [arrays][8][width values of `bytes` bytes]: the rows of the first `columns` columns.
  __device__ __noinline__ void rows(uint64_t base, int layer, int columns, int arrays, int width, int bytes, Order order, int valid) const {
    const int pieces = width * bytes / 16, total = arrays * columns * pieces;
    uint4* to = in_slot<uint4>(p, base, layer);
#pragma unroll 1
    for (int i = thread; i < total; i += threads) {
      const int row = i / pieces, array = row / columns, column = row - array * columns, piece = i - row * pieces;
      store(to + (size_t)(array * MAX_COLUMNS + column) * pieces + piece, clean_piece(order, piece, valid));
    }
  }

  // `pieces` of cross-attention at most.
  __device__ void slot(int layer, int columns, int pieces) const {
    const Matrix &o = p.matrices[O], &wi = p.matrices[WI];
    const int dp = wi.chunks * CHUNK_K, fp = p.matrices[WO].chunks * CHUNK_K, jp = o.chunks * CHUNK_K;
    const int inner = p.heads << p.widthShift, ip = (inner + CHUNK_K - 1) & ~(CHUNK_K - 1);
    const int d = o.tiles * TILE_ROWS, f = wi.tiles * (p.gated ? TILE_ROWS / 2 : TILE_ROWS);
    rows(p.x, layer, columns, 3, dp, 4, FLOATS, d);
    rows(p.normed, layer, columns, 3, dp, 2, HALVES, d);
    rows(p.normedPowers, layer, columns, 3, dp / 8, 1, POWERS, d);
    rows(p.squares, layer, columns, 3, p.gridPad, 4, FLOATS, min(groups_of(o), (int)gridDim.x));
    rows(p.q, layer, columns, 1, ip, 4, FLOATS, inner);
    rows(p.fresh, layer, columns, 2, ip, 2, HALVES, ip);
    rows(p.attended, layer, columns, 2, jp, 2, HALVES, p.heads * p.dKv);
    rows(p.xqueries, layer, columns, 1, ip, 2, HALVES, inner);
    if (pieces > 1) rows(p.crossPieces, layer, columns, pieces, p.headWidth + 4, 4, FLOATS, p.headWidth + 4);
    rows(p.hidden, layer, columns, 1, fp, 2, HALVES, f);
    rows(p.exponents, layer, columns, 1, fp / 8, 1, POWERS, f);
  }
};

// Counted in by the cleaning warp of each block, once what it does during this layer is done.
__device__ __forceinline__ unsigned* cleaned(const StepParams& p, int layer) {
  return at<unsigned>(p.counters) + (layer * POINTS + CLEANED) * COUNTER_WORDS;
}

// What one warp of each block does while this layer runs.
__device__ __noinline__ void clean(const StepParams& p, int layer) {
  const int lane = threadIdx.x & 31;
  const Cleaner cleaner{p, (int)(blockIdx.x * 32 + lane), (int)(gridDim.x * 32)};
  if (layer == 0) {
    // the step before may have been another decoder's, with other parts
    cleaner.slot(1, p.dirty, max((int)gridDim.x, p.heads)), cleaner.slot(2, p.dirty, max((int)gridDim.x, p.heads));
  } else {
    if (lane == 0) wait_idly(at<unsigned>(p.counters) + (layer * POINTS + 1) * COUNTER_WORDS, gridDim.x);
    __syncwarp();
    cleaner.slot(layer - 1, p.columns, p.crossParts > 1 ? p.heads * p.crossParts : 0);
  }
  __syncwarp();
  if (lane == 0) count_in(cleaned(p, layer));
}

}  // namespace

// All slots, for all columns: once, before the first step. Of as many blocks as a step.
extern "C" __global__ void decoder_clean(const __grid_constant__ StepParams p) {
  const Cleaner cleaner{p, (int)(blockIdx.x * blockDim.x + threadIdx.x), (int)(gridDim.x * blockDim.x)};
  for (int layer = 0; layer < EXCHANGE_SLOTS; layer++) cleaner.slot(layer, MAX_COLUMNS, max((int)gridDim.x, p.heads));
}
