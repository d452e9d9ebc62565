// The instructions of kernels/decoder_instructions.cuh for the emulator. Included by it in their place.
#pragma once

namespace {

inline emulated::Barrier& barrier_of(uint64_t* bar) { return *reinterpret_cast<emulated::Barrier*>(bar); }

inline void barrier_init(uint64_t* bar, int count) {
  emulated::Barrier& b = barrier_of(bar);
  b.phase = 0, b.expected = count, b.pending = count, b.bytes = 0;
}
inline void barriers_ready() {}
inline void barrier_arrive(uint64_t* bar) {
  emulated::Barrier& b = barrier_of(bar);
  if (b.pending == 0) printf("too many arrivals at a barrier\n"), exit(4);
  b.pending--;
  settle(b);
}
inline bool barrier_test(uint64_t* bar, uint32_t parity) { return barrier_of(bar).phase != parity; }
inline void barrier_block(uint64_t* bar, uint32_t parity) {
  emulated::wait_until([=] { return barrier_of(bar).phase != parity; });
}
inline void consumers_sync() { emulated::meet(1, CONSUMERS); }
inline void epilogues_sync() { emulated::meet(2, 64); }

template <typename T>
inline void store(T* p, T v) {
  emulated::store_late(p, &v, sizeof(T));
}
template <typename T>
inline T fetch(const T* p) {
  emulated::see_own(p, sizeof(T));
  return *p;
}

inline void hint(unsigned* counter) { (*counter)++; }
inline void count_in(unsigned* counter) {
  emulated::release();
  (*counter)++;
}
inline unsigned count_in_and_read(unsigned* counter) {
  emulated::release();
  return (*counter)++;
}
inline void block_for(const unsigned* counter, unsigned arrivals) {
  emulated::wait_until([=] { return *counter >= arrivals; });
}

inline void wait_idly(const unsigned* counter, unsigned arrivals) { block_for(counter, arrivals); }

constexpr int STAGE_ARRIVALS = 1;
inline uint64_t copy_policy() { return 0; }
inline void copy_stage(uint8_t* stage, const uint8_t* from, int bytes, uint64_t* barrier, uint64_t) {
  emulated::Barrier& b = barrier_of(barrier);
  b.bytes += bytes;
  barrier_arrive(barrier);
  // Whoever still reads the slot reads rubbish, until the new bytes are there.
  memset(stage, 0xff, bytes);
  emulated::copies.push_back({stage, from, bytes, barrier});
}
inline void copies_done() {}

constexpr bool PREFETCHES = true;
inline void prefetch(const uint8_t*, int, uint64_t = 0) {}
struct Pacer {
  bool turn(const int* copied, int stage, int ahead, int) {
    emulated::wait_until([=] { return *copied >> 1 > stage - ahead; });
    return stage >= *copied >> 1;
  }
};

inline uint32_t transpose8(uint32_t v) {
  const auto words = emulated::exchange(&v, 1);
  const int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3;
  const auto at = [&](int row, int column) { return words[row * 4 + column / 2][0] >> (16 * (column % 2)) & 0xffffu; };
  return at(2 * t, g) | at(2 * t + 1, g) << 16;
}

inline int opaque(int v) { return v; }

// Fragments as PTX lays them out; sums in double, rounded once.
inline void mma16816(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  const unsigned mine[6] = {a0, a1, a2, a3, b0, b1};
  const auto words = emulated::exchange(mine, 6);
  const int g = (threadIdx.x & 31) >> 2, t = threadIdx.x & 3;
  const auto value = [](unsigned word, int k) { return (double)__half2float({(uint16_t)(word >> (16 * (k & 1)))}); };
  for (int i = 0; i < 4; i++) {
    const int row = g + (i >= 2 ? 8 : 0), column = 2 * t + (i & 1);
    double sum = c[i];
    for (int k = 0; k < 16; k++) {
      const unsigned a = words[(row & 7) * 4 + (k & 7) / 2][(row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0)];
      const unsigned b = words[column * 4 + (k & 7) / 2][4 + (k >= 8 ? 1 : 0)];
      sum += value(a, k) * value(b, k);
    }
    c[i] = (float)sum;
  }
}

}  // namespace

#define SHARED_MEMORY(name) uint8_t* name = emulated::current->block->shared
