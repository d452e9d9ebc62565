// The instructions of the step kernel that CUDA C++ has no name for. A program that runs the kernels on a processor
// without a card gives its own (FLAN_EMULATED: test/emulated).
#pragma once
#include "decoder.cuh"
#ifdef FLAN_EMULATED
#include "emulated_instructions.h"
#else

namespace {

__device__ __forceinline__ void barrier_init(uint64_t* bar, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0],%1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}

// Makes initialized barriers known to the copy engine.
__device__ __forceinline__ void barriers_ready() {
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ __forceinline__ void barrier_arrive(uint64_t* bar) {
  asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state,[%0];}" ::"r"(shared_address(bar)) : "memory");
}

// Whether the phase of this parity is complete.
__device__ __forceinline__ bool barrier_test(uint64_t* bar, uint32_t parity) {
  unsigned done;
  asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p,[%1],%2; selp.u32 %0,1,0,p;}" : "=r"(done) : "r"(shared_address(bar)), "r"(parity) : "memory");
  return done != 0;
}

__device__ __forceinline__ void barrier_block(uint64_t* bar, uint32_t parity) {
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
  asm volatile(
      "{.reg .pred p;\nWAIT: mbarrier.try_wait.parity.shared.b64 p,[%0],%1;\n@p bra DONE;\nbra WAIT;\nDONE: }" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
#else
  asm volatile(
      "{.reg .pred p;\nWAIT: mbarrier.test_wait.parity.shared.b64 p,[%0],%1;\n@p bra DONE;\nbra WAIT;\nDONE: }" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
#endif
}

__device__ __forceinline__ void consumers_sync() { asm volatile("bar.sync 1,%0;" ::"n"(CONSUMERS) : "memory"); }

#ifdef FLAN_NAMED_BARRIERS
// The consumers and one epilogue warp, at one of the block's other barriers.
__device__ __forceinline__ void named_sync(int which) { asm volatile("bar.sync %0,%1;" ::"r"(which), "n"(CONSUMERS + 32) : "memory"); }
__device__ __forceinline__ void named_arrive(int which) { asm volatile("bar.arrive %0,%1;" ::"r"(which), "n"(CONSUMERS + 32) : "memory"); }
#endif

// Both epilogue warps meet.
__device__ __forceinline__ void epilogues_sync() { asm volatile("bar.sync 2,64;" ::: "memory"); }

// What blocks hand to one another goes past the first-level cache, in pieces that are seen whole, in no order. `volatile`:
// who loads again wants it loaded again. How a reader knows that it is there: decoder_exchange.cuh. Only where pieces of
// self-attention or the best logits are joined, one thread of a block, after its fellows have joined it, counts the block
// in with release, and reads the counter with acquire.
__device__ __forceinline__ void store(float* p, float v) { asm volatile("st.relaxed.gpu.global.f32 [%0],%1;" ::"l"(p), "f"(v) : "memory"); }
__device__ __forceinline__ void store(half* p, half v) { asm volatile("st.relaxed.gpu.global.u16 [%0],%1;" ::"l"(p), "h"(__half_as_ushort(v)) : "memory"); }
__device__ __forceinline__ void store(uint8_t* p, uint8_t v) { asm volatile("st.relaxed.gpu.global.u8 [%0],%1;" ::"l"(p), "r"((uint32_t)v) : "memory"); }
__device__ __forceinline__ void store(uint4* p, uint4 v) {
  asm volatile("st.relaxed.gpu.global.v4.u32 [%0],{%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ uint32_t fetch(const uint8_t* p) {
  uint32_t v;
  asm volatile("ld.global.cg.u8 %0,[%1];" : "=r"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ float fetch(const float* p) {
  float v;
  asm volatile("ld.global.cg.f32 %0,[%1];" : "=f"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ float2 fetch(const float2* p) {
  float2 v;
  asm volatile("ld.global.cg.v2.f32 {%0,%1},[%2];" : "=f"(v.x), "=f"(v.y) : "l"(p));
  return v;
}
__device__ __forceinline__ float4 fetch(const float4* p) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3},[%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p));
  return v;
}
__device__ __forceinline__ uint2 fetch(const uint2* p) {
  uint2 v;
  asm volatile("ld.global.cg.v2.u32 {%0,%1},[%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
__device__ __forceinline__ uint4 fetch(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3},[%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}

// A counter in global memory: one more, in no order with anything else.
__device__ __forceinline__ void hint(unsigned* counter) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0],1;" ::"l"(counter) : "memory");
}

// The same, after everything that this thread has seen done.
__device__ __forceinline__ void count_in(unsigned* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0],1;" ::"l"(counter) : "memory");
}

__device__ __forceinline__ unsigned count_in_and_read(unsigned* counter) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0,[%1],1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
}

__device__ __forceinline__ unsigned read_counter(const unsigned* counter) {
  unsigned seen;
  asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(seen) : "l"(counter) : "memory");
  return seen;
}

__device__ __forceinline__ void block_for(const unsigned* counter, unsigned arrivals) {
  unsigned seen;
  do asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(seen) : "l"(counter) : "memory");
  while (seen < arrivals);
}

// The same for who has time.
__device__ __forceinline__ void wait_idly(const unsigned* counter, unsigned arrivals) {
#if __CUDA_ARCH__ >= 700
  while (read_counter(counter) < arrivals) __nanosleep(500);
#else
  block_for(counter, arrivals);
#endif
}

// How a copied stage counts in at its barrier: once, by the bytes that arrive, or once for each lane that copies.
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
constexpr int STAGE_ARRIVALS = 1;
#else
constexpr int STAGE_ARRIVALS = 32;
#endif

// Weights are read once a step: they may leave the second-level cache first.
__device__ __forceinline__ uint64_t copy_policy() {
  uint64_t policy;
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0,1.0;" : "=l"(policy));
#else
  policy = 0;
#endif
  return policy;
}

// Copies a stage to shared memory; `full` completes when it is there. By one thread, or before 9.0 by a warp.
__device__ __forceinline__ void copy_stage(uint8_t* stage, const uint8_t* from, int bytes, uint64_t* barrier, uint64_t policy) {
  const uint32_t full = shared_address(barrier), to = shared_address(stage);
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
  asm volatile("{.reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state,[%0],%1;}" ::"r"(full), "r"(bytes) : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0],[%1],%2,[%3],%4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(full), "l"(policy)
      : "memory");
#else
  for (int i = (threadIdx.x & 31) * 16; i < bytes; i += 512)
    asm volatile("cp.async.cg.shared.global [%0],[%1],16;" ::"r"(to + i), "l"(from + i) : "memory");
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(full) : "memory");
#endif
}

__device__ __forceinline__ void copies_done() {
#if __CUDA_ARCH__ < 900 || defined(FLAN_CP_ASYNC)
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Asks the second-level cache for a stage, from 9.0 on.
#if __CUDA_ARCH__ >= 900
constexpr bool PREFETCHES = true;
#else
constexpr bool PREFETCHES = false;
#endif
__device__ __forceinline__ void prefetch(const uint8_t* from, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0],%1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ void prefetch(const uint8_t* from, int bytes, uint64_t policy) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global.L2::cache_hint [%0],%1,%2;" ::"l"(from), "r"(bytes), "l"(policy) : "memory");
#endif
}

// When the next stage may be asked for: while the copies stand still, not more than one in `pace` cycles, and none more than
// `ahead` stages in front of them. Their number, and whether they stand still, another thread of the block keeps at `copied`.
// False: the stage has been copied meanwhile.
struct Pacer {
  unsigned next = clock();
  __device__ __forceinline__ bool turn(const int* copied, int stage, int ahead, int pace) {
#if __CUDA_ARCH__ >= 700
    while (true) {
      const int state = *reinterpret_cast<const volatile int*>(copied), done = state >> 1;
      if (stage < done) return false;
      const unsigned now = clock();
      const int late = now - next;
      if ((state & 1) != 0 && stage - done < ahead && late >= 0) {
        next = late > 2 * pace ? now : next + pace;  // what was not asked for in time is not made up for in a burst
        return true;
      }
      __nanosleep(100);
    }
#endif
    return false;
  }
};

// Transposes an 8 x 8 matrix of fp16 across the warp: lane 4 g + t gives row g, columns 2t and 2t + 1.
__device__ __forceinline__ uint32_t transpose8(uint32_t v) {
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(v) : "r"(v));
  return v;
}

// A value that the compiler knows nothing about. What is computed from it is computed where it stands: otherwise all that
// does not change from layer to layer would be computed once, and kept in local memory (see `Fragments`).
__device__ __forceinline__ int opaque(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

}  // namespace

// Names the block's dynamic shared memory.
#define SHARED_MEMORY(name) extern __shared__ __align__(128) uint8_t name[]
#endif
