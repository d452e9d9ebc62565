// What lies where in a block's shared memory, and the one order in which all roles go through the stages and units.
#pragma once
#include "decoder_sync.cuh"

namespace {

// Columns that a variant of the kernel is compiled for: 1, or up to 8. Only how partial results are kept differs.
constexpr int BARRIER_BYTES = 512;

template <int NC>
struct Shape {
  static constexpr int SUM_FLOATS = CONSUMER_WARPS * TILE_ROWS * NC;  // partial sums of one unit
  static constexpr int SUMS = NC == 1 ? 4 : 2;                        // units whose partial sums can wait
  static constexpr int TILES_IN_PARTS = 8;                            // tiles that a block adds up over parts of K
  static constexpr int WORK_BYTES = 17408;                            // partial sums (and activations on their way), or what attention needs
  static constexpr int TOTAL_BYTES = TILES_IN_PARTS * TILE_ROWS * NC * 4;
  static constexpr int FIXED_BYTES = BARRIER_BYTES + WORK_BYTES + TOTAL_BYTES;  // all but the ring
};

template <int NC>
struct Shared {
  uint8_t* base;
  __device__ explicit Shared(uint8_t* memory) : base(memory) {}

  // barriers: of the ring's slots, of waiting partial sums, and for the consumers to go on
  __device__ __forceinline__ uint64_t* full(int slot) const { return reinterpret_cast<uint64_t*>(base) + slot; }
  __device__ __forceinline__ uint64_t* empty(int slot) const { return reinterpret_cast<uint64_t*>(base) + 16 + slot; }
  __device__ __forceinline__ uint64_t* sums_full(int buffer) const { return reinterpret_cast<uint64_t*>(base) + 32 + buffer; }
  __device__ __forceinline__ uint64_t* sums_empty(int buffer) const { return reinterpret_cast<uint64_t*>(base) + 36 + buffer; }
  __device__ __forceinline__ uint64_t* ready() const { return reinterpret_cast<uint64_t*>(base) + 40; }
  __device__ __forceinline__ uint64_t* taken() const { return reinterpret_cast<uint64_t*>(base) + 41; }
  __device__ __forceinline__ uint64_t* scaled() const { return reinterpret_cast<uint64_t*>(base) + 42; }
  __device__ __forceinline__ unsigned* word() const { return reinterpret_cast<unsigned*>(base) + 88; }
  __device__ __forceinline__ float* handed() const { return reinterpret_cast<float*>(base) + 104; }  // 24 values, by the second epilogue warp
  __device__ __forceinline__ int* copied() const { return reinterpret_cast<int*>(base) + 90; }  // stages, by the producer
  __device__ __forceinline__ float* inverse() const { return reinterpret_cast<float*>(base) + 96; }  // 1 / rms of each column

  // The partial sums of a unit: consumers fill a buffer, an epilogue warp empties it. Called by whole warps. Built with
  // FLAN_NAMED_BARRIERS these are barriers that compute-sanitizer's racecheck follows, which it does not with mbarriers; the
  // consumers then wait for one another, too.
#ifdef FLAN_NAMED_BARRIERS
  __device__ __forceinline__ void wait_full(int unit) const { named_sync(3 + unit % Shape<NC>::SUMS); }
  __device__ __forceinline__ void wait_empty(int unit) const {
    if (unit >= Shape<NC>::SUMS) named_sync(7 + unit % Shape<NC>::SUMS);
  }
  __device__ __forceinline__ void tell_full(int unit) const { named_arrive(3 + unit % Shape<NC>::SUMS); }
  __device__ __forceinline__ void tell_empty(int unit) const { named_arrive(7 + unit % Shape<NC>::SUMS); }
#else
  __device__ __forceinline__ void wait_full(int unit) const { barrier_wait(sums_full(unit % Shape<NC>::SUMS), unit / Shape<NC>::SUMS & 1); }
  __device__ __forceinline__ void wait_empty(int unit) const { barrier_wait(sums_empty(unit % Shape<NC>::SUMS), (unit / Shape<NC>::SUMS & 1) ^ 1); }
  __device__ __forceinline__ void tell_full(int unit) const { tell(sums_full(unit % Shape<NC>::SUMS)); }
  __device__ __forceinline__ void tell_empty(int unit) const { tell(sums_empty(unit % Shape<NC>::SUMS)); }
  static __device__ __forceinline__ void tell(uint64_t* barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(barrier);
  }
#endif

  __device__ __forceinline__ uint8_t* work() const { return base + BARRIER_BYTES; }
  __device__ __forceinline__ uint8_t* staging() const { return work() + Shape<NC>::SUMS * Shape<NC>::SUM_FLOATS * 4; }  // one column
  __device__ __forceinline__ float* totals() const { return reinterpret_cast<float*>(work() + Shape<NC>::WORK_BYTES); }
  __device__ __forceinline__ uint8_t* stage(int slot) const { return base + Shape<NC>::FIXED_BYTES + slot * STAGE_BYTES; }
};

// This block's number in a phase: rotated, so that no block has the shorter share everywhere.
__device__ __forceinline__ int turn(int layer, int product) {
  return (blockIdx.x + layer * 7 + product * 41) % gridDim.x;
}

__device__ __forceinline__ int groups_of(const Matrix& m) { return (m.tiles + m.group - 1) / m.group; }

// Calls visit(group, part, place) for each unit of this block, in the one order that all roles share. `place` numbers the
// tiles whose parts are being added up.
template <int PLACES, typename Visit>
__device__ __forceinline__ void for_units(const Matrix& m, int mine, Visit&& visit) {
  const int groups = groups_of(m), blocks = gridDim.x, places = m.parts == 1 ? 1 : PLACES;
#pragma unroll 1
  for (int base = mine; base < groups; base += blocks * places)
#pragma unroll 1
    for (int part = 0; part < m.parts; part++)
#pragma unroll 1
      for (int place = 0; place < places && base + place * blocks < groups; place++) visit(base + place * blocks, part, place);
}

__device__ __forceinline__ int chunks_in_part(const Matrix& m, int part) { return min(m.unit, m.chunks - part * m.unit); }
__device__ __forceinline__ int tiles_in_group(const Matrix& m, int group) { return min(m.group, m.tiles - group * m.group); }

// A place in the ring, advancing.
struct Ring {
  int stages, slot = 0;
  uint32_t phase = 0;
  __device__ explicit Ring(int n) : stages(n) {}
  __device__ __forceinline__ void advance(int by) {
    slot += by;
    while (slot >= stages) slot -= stages, phase ^= 1;
  }
  // `ahead` < stages stages further.
  __device__ __forceinline__ int slot_at(int ahead) const { return slot + ahead >= stages ? slot + ahead - stages : slot + ahead; }
  __device__ __forceinline__ uint32_t phase_at(int ahead) const { return slot + ahead >= stages ? phase ^ 1 : phase; }
};

// Where value k of a row of fp16 activations lies: of each 64, all first eights of the lanes' sixteens (multiply's B
// fragments), then all second ones. So a quarter of a warp loads 64 bytes in one piece, instead of half of four sectors.
__device__ __forceinline__ int stored(int k) { return (k & ~63) | (k & 8) << 2 | (k & 48) >> 1 | (k & 7); }

__device__ __forceinline__ float power_of_two(int e) { return __int_as_float((e + 127) << 23); }

}  // namespace
