// How the roles of a block, and the blocks of the grid, wait for one another; and what a build for finding faults or for
// measuring adds to that (FLAN_TRAP, FLAN_TIMELINE, FLAN_NAMED_BARRIERS: never in a shipped image).
#pragma once
#include "decoder_instructions.cuh"
#ifdef FLAN_TRAP
#include <cstdio>
#endif

namespace {

// Built with FLAN_TRAP, a wait that would never end says where it is and stops the kernel.
#ifdef FLAN_TRAP
__device__ __noinline__ void trapped(const char* what, unsigned a, unsigned b) {
  printf("block %d thread %d waits for %s %u %u\n", blockIdx.x, threadIdx.x, what, a, b);
  for (int i = 0; i < 200; i++) __nanosleep(1000000);
  __trap();
}
#endif

__device__ __forceinline__ void barrier_wait(uint64_t* bar, uint32_t parity) {
#ifdef FLAN_TRAP
  for (int i = 0; !barrier_test(bar, parity); i++)
    if (i > 20000000) trapped("a barrier", shared_address(bar), parity);
#else
  barrier_block(bar, parity);
#endif
}

__device__ __forceinline__ void wait_for(const unsigned* counter, unsigned arrivals) {
#ifdef FLAN_TRAP
  for (int i = 0; read_counter(counter) < arrivals; i++)
    if (i > 5000000) trapped("other blocks", read_counter(counter), arrivals);
#else
  block_for(counter, arrivals);
#endif
}

// Built with FLAN_TIMELINE=<layer>, block FLAN_BLOCK writes down when each role came by which place in that layer.
#ifdef FLAN_TIMELINE
#ifndef FLAN_BLOCK
#define FLAN_BLOCK 0
#endif
constexpr int EVENTS = 400;
__device__ long long timeline[3][EVENTS][2];  // [producer, epilogue, consumer warp 0][event] {place, clock}
__device__ int timelineLength[3];
__device__ __forceinline__ void stamp(int role, int layer, int place) {
  if (blockIdx.x != FLAN_BLOCK || layer != FLAN_TIMELINE || (threadIdx.x & 31) != 0 || (role == 2 && threadIdx.x != 0) || (role == 1 && threadIdx.x >> 5 != EPILOGUE_WARP)) return;
  const int i = timelineLength[role]++;
  if (i < EVENTS) timeline[role][i][0] = place, timeline[role][i][1] = clock64();
}
#define STAMP(role, layer, place) stamp(role, layer, place)
#else
#define STAMP(role, layer, place) (void)0
#endif

template <typename T>
__device__ __forceinline__ T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace
