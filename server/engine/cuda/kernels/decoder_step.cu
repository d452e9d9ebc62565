// One decoder step of a T5 model as ONE kernel: embedding, all layers, output layer, and the choice of the next token.
//
// A step reads every decoder weight once, so its floor is the memory's speed, and everything here serves to keep the
// memory busy. One block runs on each multiprocessor, with four roles that never change:
//
// - the producer streams the int8 weights of *all* layers (and the cross-attention's keys and values), in program order,
//   through a ring in shared memory. None of that depends on an activation, so it never waits for another block: while
//   the consumers wait for one another, the ring fills. Once it is full, one more thread walks on along the same way and
//   asks the second-level cache for what comes next, slowly enough not to be in the way of those who are waited for. Its
//   warp also cleans exchange slots.
// - 16 consumer warps multiply. Warp w always takes the same 256 of K, so it holds its part of the activations in
//   registers as B fragments for a whole phase, and reads only weights from shared memory. No barrier joins the warps.
// - two epilogue warps, units in turn, add the 16 partial sums of each unit in a fixed order and apply what follows the
//   product (residual add, activation, cache write, running maximum). The first of them counts this block in at a
//   grid-wide meeting point, and tells the consumers when it is worth to look for what the others have stored.
//
// Nothing is published with fences: decoder_exchange.cuh says how blocks know that a value is there.
//
// The activations are the B operand of mma.m16n8k16, so 1 to 8 columns cost the same weights and the same instructions.
// Nothing depends on how many columns there are: a column's result is the same, bit for bit, alone or among seven others.
// Sums run in fixed orders; the only atomics count arrivals.
//
// fp16 range: the residual stream is fp32, and attention outputs, which are bounded, go as fp16. The input of wo and that of
// the normed products (residual stream x norm weights; the norm's factor is not known before all blocks are done, and joins
// the sums) are not bounded (T5 passes 65,504 in both): each 8 values are stored scaled by a power of two, and a consumer
// brings a 128-block to a common power, which joins the weight scale. That keeps fp16's 11 bits at any magnitude of fp32,
// where bf16 would keep 8.
//
// Before compute capability 9.0 there is no bulk copy: there the producer warp's 32 lanes use cp.async instead.
#include "decoder_cross_attention.cuh"
#include "decoder_epilogue.cuh"
#include "decoder_producer.cuh"
#include "decoder_self_attention.cuh"

namespace {

template <int NC>
__device__ __forceinline__ void step(const StepParams& p) {
  SHARED_MEMORY(memory);
  Shared<NC> s(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; i++) {
      barrier_init(s.full(i), STAGE_ARRIVALS);
      barrier_init(s.empty(i), STAGE_CHUNKS);
    }
    for (int i = 0; i < Shape<NC>::SUMS; i++) {
      barrier_init(s.sums_full(i), CONSUMER_WARPS);
      barrier_init(s.sums_empty(i), 1);
    }
    barrier_init(s.ready(), 1);
    barrier_init(s.taken(), CONSUMER_WARPS);
    barrier_init(s.scaled(), 1);
    *s.copied() = 0;
    barriers_ready();
  }
  // the next launch counts in other words, which nobody uses now
  for (int i = blockIdx.x * STEP_THREADS + threadIdx.x; i < p.counterWords; i += gridDim.x * STEP_THREADS)
    at<unsigned>(p.nextCounters)[i] = 0;
  __syncthreads();
  const int warp = threadIdx.x >> 5;
  if (warp < CONSUMER_WARPS) {
    Consumer<NC>(p, s).run();
  } else if (warp == EPILOGUE_WARP || warp == SECOND_EPILOGUE_WARP) {
    Epilogue<NC>(p, s).run();
  } else if (warp == PRODUCER_WARP) {
    // one thread where the copy engine does the work, else all lanes of the warp
    if (STAGE_ARRIVALS > 1 || (threadIdx.x & 31) == 0) Producer<NC, false>(p, s).run();
  } else {
    Producer<NC, true>(p, s).run();
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(STEP_THREADS, 1) decoder_step_1(const __grid_constant__ StepParams p) { step<1>(p); }
extern "C" __global__ void __launch_bounds__(STEP_THREADS, 1) decoder_step_8(const __grid_constant__ StepParams p) { step<8>(p); }
