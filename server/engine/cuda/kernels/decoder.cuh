// The decoder's parameters and the shapes behind them, shared by its kernels, its test program and ../decoder.ts (which
// packs `StepParams` byte by byte: keep both in step).
//
// Words used everywhere: a *column* is one token fed in this step (1 to 8 of them; rows x tokens a row, row-major). A
// *unit* is what one multiprocessor multiplies at a time: up to 16 chunks (common.cuh), one for each of its 16 consumer
// warps: `group` tiles of `unit` chunks. A tile with more than 16 chunks is cut along K into `parts` units. A *stage* is
// one slot of the shared-memory ring: 4 chunks, or 16 KB of cross-attention keys and values.
#pragma once
#include "common.cuh"

constexpr int MAX_COLUMNS = 8;
constexpr int CONSUMER_WARPS = 16;
constexpr int CONSUMERS = CONSUMER_WARPS * 32;
constexpr int EPILOGUE_WARP = CONSUMER_WARPS;
constexpr int PRODUCER_WARP = CONSUMER_WARPS + 1;
constexpr int PREFETCH_WARP = CONSUMER_WARPS + 2;
constexpr int SECOND_EPILOGUE_WARP = CONSUMER_WARPS + 3;
constexpr int STEP_THREADS = (CONSUMER_WARPS + 4) * 32;
constexpr int STAGE_CHUNKS = 4;
constexpr int STAGE_BYTES = STAGE_CHUNKS * CHUNK_BYTES;  // 16,640
constexpr int CROSS_BYTES = 16384;                        // a stage of cross-attention: keys, then values
constexpr int SPLIT_KEYS = 64;                            // self-attention keys that one block takes at a time
constexpr int COUNTER_WORDS = 8;                          // a counter has its own 32-byte sector
constexpr int POINTS = 9;                                 // counters of a layer: its eight grid-wide meeting points, and
constexpr int CLEANED = 8;                                // the blocks that have cleaned their part of a slot

// One int8 matrix [16 tiles, 256 chunks] in every layer, at weights + layer * layerStride.
struct Matrix {
  uint64_t weights;
  int32_t tiles;
  int32_t chunks;
  int32_t unit;
  int32_t group;
  int32_t parts;
  int32_t reserved;
};

enum Product { QKV, O, XQ, XO, WI, WO, HEAD };
enum Activation { RELU = 0, GELU_NEW = 1, SILU = 2 };

struct Result {
  int32_t id;           // of the largest logit; the lower id where equal
  float logprob;        // of `id`
  float targetLogprob;  // of targets[column]
  float logSumExp;
};

// Widths: D = dModel, I = heads * headWidth (headWidth: dKv rounded up to 64, 128 or 256), J = heads * dKv, F = dFf.
// Activations are padded to whole chunks: Dp, Ip, Jp, Fp = rounded up to 256; the padding stays zero.
struct StepParams {
  // By `Product`. QKV [3 I, D]: rows of q, then k, then v. O [D, J]. XQ [I, D]. XO [D, J]. WI: gated: a tile is 8 rows of
  // wi_0, then the same 8 rows of wi_1; else [F, D]. WO [D, F]. HEAD [vocab, D].
  Matrix matrices[7];
  uint64_t layerStride;
  uint64_t embedding;    // chunks of [vocab, D]
  uint64_t norms;        // fp16 [3 layers + 1][Dp]: before self-attention, cross-attention, feed-forward; the final one
  uint64_t bias;         // f32 [layers or 1][heads][maxDistance + 1]: self-attention bias by distance
  // Exchanged between blocks (decoder_exchange.cuh), addresses in slot 0. Threes: before self-attention, before
  // cross-attention, before the feed-forward.
  uint64_t x;            // f32 [3][8][Dp]: residual stream
  uint64_t normed;       // fp16 [3][8][Dp]: residual stream x weights of the next norm, each 8 values scaled by a power of two
  uint64_t normedPowers; // u8 [3][8][Dp / 8]: those powers, from -100 on
  uint64_t squares;      // f32 [3][8][gridPad]: sums of squares of x, one from each block
  uint64_t q;            // f32 [8][Ip]: self-attention queries
  uint64_t fresh;        // fp16 [2][8][Ip]: keys and values of this step's tokens
  uint64_t attended;     // fp16 [2][8][Jp]: input of o and of xo
  uint64_t crossPieces;  // f32 [heads x crossParts][8][headWidth + 4]: what a part of a head's source gives, its maximum and weight
  uint64_t xqueries;     // fp16 [8][Ip]: cross-attention queries
  uint64_t hidden;       // fp16 [8][Fp]: input of wo, each 8 values scaled by a power of two
  uint64_t exponents;    // u8 [8][Fp / 8]: those powers, from -100 on
  uint64_t slotBytes;    // from a slot to the next one
  uint64_t partial;      // f32: what blocks leave in self-attention for the one that joins them
  uint64_t logits;       // f32 [8][16 head.tiles]
  uint64_t bests;        // f32 [8][gridPad][3]: largest logit, sum of exponentials, id (as bits)
  uint64_t results;      // Result [8]
  uint64_t counters;     // u32: this launch's, all zero at its start
  uint64_t nextCounters; // u32: the next launch's, zeroed by this one
  uint64_t keys;         // fp16 [layers][rows][heads][capacity][headWidth]
  uint64_t values;       // the same
  uint64_t cacheStride;  // bytes of one layer of either
  uint64_t rowOf;        // u8 [rows][capacity]: which row's cache holds the key, or 0 if its own
  uint64_t cross;        // [layers][heads][crossSlots][CROSS_BYTES]
  uint64_t crossStride;  // bytes of one layer
  int32_t layers, heads, headWidth, dModel;
  int32_t vocab, maxDistance, biasStride, gridPad;
  int32_t activation, gated, counterWords, stages;
  int32_t columns, perRow, firstColumn, length;  // columns are firstColumn .. of rows x perRow
  int32_t capacity, crossSlots, crossParts, sourceLength;  // a head's slots are cut into crossParts of crossShare
  int32_t crossShare, widthShift, inFlight, dKv;           // headWidth = 1 << widthShift; stages on their way at most
  int32_t ahead, pace;  // stages at most that the second-level cache is asked for early, one in `pace` cycles; 0: none
  int32_t slot, dirty;     // of the first layer; columns of the step before
  int32_t late, reserved;  // of 128 blocks, those that others begin to look for values without
  float epsilon, logitScale;
  int32_t tokens[MAX_COLUMNS];
  int32_t targets[MAX_COLUMNS];
};
