// One decoder step of a T5 model as ONE kernel: embedding, all layers, output layer, and the choice of the next token.
//
// A step reads every decoder weight once, so its floor is the memory's speed, and everything here serves to keep the
// memory busy. One block runs on each multiprocessor, with three roles that never change:
//
// - the producer streams the int8 weights of *all* layers (and the cross-attention's keys and values), in program order,
//   through a ring in shared memory. None of that depends on an activation, so it never waits for another block: while
//   the consumers wait for one another, the ring fills.
// - 16 consumer warps multiply. Warp w always takes the same 256 of K, so it holds its part of the activations in
//   registers as B fragments for a whole phase, and reads only weights from shared memory. No barrier joins the warps.
// - the epilogue warp adds the 16 partial sums of each unit in a fixed order, applies what follows the product (residual
//   add, activation, cache write, running maximum), and is the only one that talks to other blocks: it counts this block in
//   at a grid-wide meeting point, and tells the consumers when the next one is passed.
//
// The activations are the B operand of mma.m16n8k16, so 1 to 8 columns cost the same weights and the same instructions.
// Nothing depends on how many columns there are: a column's result is the same, bit for bit, alone or among seven others.
// Sums run in fixed orders; the only atomics count arrivals.
//
// fp16 range: the residual stream is fp32. Normed activations and attention outputs are bounded and go as fp16. The input
// of wo is not bounded (T5 passes 65,504 there): each 8 values are stored scaled by a power of two, and a consumer brings
// a 128-block to a common power, which joins the weight scale. That keeps fp16's 11 bits at any magnitude of fp32, where
// bf16 would keep 8.
//
// Before compute capability 9.0 there is no bulk copy: there the producer warp's 32 lanes use cp.async instead.
#include "decoder.cuh"
#ifdef FLAN_TRAP
#include <cstdio>
#endif

namespace {

// ---------------------------------------------------------------------------------------------------- barriers

__device__ __forceinline__ void barrier_init(uint64_t* bar, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0],%1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t* bar) {
  asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state,[%0];}" ::"r"(shared_address(bar)) : "memory");
}

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
  unsigned done = 0;
  for (int i = 0; !done; i++) {
    asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p,[%1],%2; selp.u32 %0,1,0,p;}" : "=r"(done) : "r"(shared_address(bar)), "r"(parity) : "memory");
    if (i > 20000000) trapped("a barrier", shared_address(bar), parity);
  }
  return;
#endif
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

// How blocks hand data to one another: every thread stores past its first-level cache and joins its warp or its fellow
// consumers; one thread then counts the block in with release, and whoever waits reads the counter with acquire and the
// data past the first-level cache (`__ldcg`). Reading a store back instead of releasing it is not enough: the check of
// columns against each other finds stale values.
__device__ __forceinline__ void store(float* p, float v) { __stcg(p, v); }
__device__ __forceinline__ void store(half* p, half v) { __stcg(reinterpret_cast<unsigned short*>(p), __half_as_ushort(v)); }
__device__ __forceinline__ void store(int8_t* p, int8_t v) { __stcg(reinterpret_cast<signed char*>(p), (signed char)v); }

__device__ __forceinline__ void count_in(unsigned* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0],1;" ::"l"(counter) : "memory");
}

__device__ __forceinline__ unsigned count_in_and_read(unsigned* counter) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0,[%1],1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
}

__device__ __forceinline__ void wait_for(const unsigned* counter, unsigned arrivals) {
#ifdef FLAN_NO_WAIT  // measuring only: blocks run on without one another
  return;
#endif
  unsigned seen;
#ifdef FLAN_TRAP
  for (int i = 0;; i++) {
    asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(seen) : "l"(counter) : "memory");
    if (seen >= arrivals) return;
    if (i > 5000000) trapped("other blocks", seen, arrivals);
  }
#endif
  do asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(seen) : "l"(counter) : "memory");
  while (seen < arrivals);
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
  if (blockIdx.x != FLAN_BLOCK || layer != FLAN_TIMELINE || (threadIdx.x & 31) != 0 || (role == 2 && threadIdx.x != 0)) return;
  const int i = timelineLength[role]++;
  if (i < EVENTS) timeline[role][i][0] = place, timeline[role][i][1] = clock64();
}
#define STAMP(role, layer, place) stamp(role, layer, place)
#else
#define STAMP(role, layer, place)
#endif

// A value that the compiler knows nothing about. What is computed from it is computed where it stands: otherwise all that
// does not change from layer to layer would be computed once, and kept in local memory (see `Fragments`).
__device__ __forceinline__ int opaque(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

template <typename T>
__device__ __forceinline__ T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

// ---------------------------------------------------------------------------------------------- shared memory

// Columns that a variant of the kernel is compiled for: 1, or up to 8. Only how partial results are kept differs.
constexpr int BARRIER_BYTES = 512;

template <int NC>
struct Shape {
  static constexpr int SUM_FLOATS = CONSUMER_WARPS * TILE_ROWS * NC;  // partial sums of one unit
  static constexpr int SUMS = NC == 1 ? 4 : 2;                        // units whose partial sums can wait
  static constexpr int TILES_IN_PARTS = 8;                            // tiles that a block adds up over parts of K
  static constexpr int WORK_BYTES = 17408;                            // partial sums (and x on its way), or what attention needs
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
  __device__ __forceinline__ float* inverse() const { return reinterpret_cast<float*>(base) + 96; }  // 1 / rms of each column

  __device__ __forceinline__ uint8_t* work() const { return base + BARRIER_BYTES; }
  __device__ __forceinline__ half* staging() const { return reinterpret_cast<half*>(work() + Shape<NC>::SUMS * Shape<NC>::SUM_FLOATS * 4); }
  __device__ __forceinline__ float* totals() const { return reinterpret_cast<float*>(work() + Shape<NC>::WORK_BYTES); }
  __device__ __forceinline__ uint8_t* stage(int slot) const { return base + Shape<NC>::FIXED_BYTES + slot * STAGE_BYTES; }
};

// ------------------------------------------------------------------------------------------------ program order

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

// ----------------------------------------------------------------------------------------------------- producer

template <int NC>
struct Producer {
  const StepParams& p;
  const Shared<NC> s;
  Ring ring, landing;
  int issued = 0;
  uint64_t policy;

  __device__ Producer(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared), ring(params.stages), landing(params.stages) {
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0,1.0;" : "=l"(policy));
#endif
  }

  // Copies one stage into the next free slot. Only a few copies are under way at a time: enough to keep the memory busy,
  // and not so many that the loads and stores of the other roles wait behind them for microseconds.
  __device__ __forceinline__ void stage(const uint8_t* from, int bytes) {
    if (issued >= p.inFlight) {
      barrier_wait(s.full(landing.slot), landing.phase);
      landing.advance(1);
    }
    issued++;
    barrier_wait(s.empty(ring.slot), ring.phase ^ 1);
    const uint32_t full = shared_address(s.full(ring.slot));
    const uint32_t to = shared_address(s.stage(ring.slot));
#ifdef FLAN_NO_COPY  // measuring only: the consumers alone, on garbage
    barrier_arrive(s.full(ring.slot));
#elif __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
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
    ring.advance(1);
  }

  __device__ __forceinline__ void product(int layer, int which) {
    STAMP(0, layer, 100 * which);
    const Matrix& m = p.matrices[which];
    const uint8_t* base = at<const uint8_t>(m.weights) + (which == HEAD ? 0 : layer * p.layerStride);
    for_units<Shape<NC>::TILES_IN_PARTS>(m, turn(layer, which), [&](int group, int part, int) {
      const uint8_t* from = base + ((size_t)group * m.group * m.chunks + part * m.unit) * CHUNK_BYTES;
#pragma unroll 1
      for (int left = tiles_in_group(m, group) * chunks_in_part(m, part); left > 0; left -= STAGE_CHUNKS) {
        stage(from, min(left, STAGE_CHUNKS) * CHUNK_BYTES);
        STAMP(0, layer, 100 * which + 1);
        from += STAGE_BYTES;
      }
    });
  }

  __device__ void cross(int layer) {
    const uint8_t* base = at<const uint8_t>(p.cross) + layer * p.crossStride;
    for (int f = blockIdx.x; f < p.heads * p.crossParts; f += gridDim.x) {
      const int head = f / p.crossParts, part = f % p.crossParts;
      const int first = part * p.crossShare, last = min(first + p.crossShare, p.crossSlots);
      for (int j = first; j < last; j++) stage(base + ((size_t)head * p.crossSlots + j) * CROSS_BYTES, CROSS_BYTES);
    }
  }

  __device__ void run() {
#pragma unroll 1
    for (int layer = 0; layer <= p.layers; layer++) {
#pragma unroll 1
      for (int which = layer < p.layers ? QKV : HEAD; which <= (layer < p.layers ? WO : HEAD); which++) {
        product(layer, which);
        if (which == XQ) cross(layer);
      }
    }
#if __CUDA_ARCH__ < 900 || defined(FLAN_CP_ASYNC)
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
  }
};

// ---------------------------------------------------------------------------------------------------- consumers

__device__ __forceinline__ float power_of_two(int e) { return __int_as_float((e + 127) << 23); }

// 2^e as fp16, e <= 0; 0 below its range.
__device__ __forceinline__ half half_power(int e) {
  return __ushort_as_half(e >= -14 ? (e + 15) << 10 : e >= -24 ? 1 << (e + 24) : 0);
}

// 1 / rms of the residual stream of one column, from what each block left. Lanes of the same 4 give the same column. One
// warp of a block does it: all blocks read the same few lines at once, and the cache serves a line to one at a time.
__device__ __forceinline__ float inverse_rms(const StepParams& p, int column) {
  constexpr int BATCH = 9;  // loads under way at a time: up to 144 blocks in one go
  const int n = p.gridPad / 4;
  const float4* from = at<const float4>(p.squares) + column * n;
  float sum = 0;
#pragma unroll 1
  for (int first = threadIdx.x & 3; first < n; first += 4 * BATCH) {
    float4 v[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; i++) v[i] = first + 4 * i < n ? __ldcg(from + first + 4 * i) : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < BATCH; i++) sum += (v[i].x + v[i].y) + (v[i].z + v[i].w);
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  return rsqrtf(sum / p.dModel + p.epsilon);
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

  // ------------------------------------------------------------------------------------------- self-attention

  // A block takes 64 keys of one column and one head, a piece of a warp 4 of them or fewer, from scores to weighted
  // values; then the pieces are joined. More than 64 keys: the last block to finish joins what the others left.
  __device__ void self_attention(int layer) {
    const int shift = opaque(p.widthShift), width = 1 << shift, most = (opaque(p.length) + p.perRow + SPLIT_KEYS - 1) / SPLIT_KEYS;
    const int heads = opaque(p.heads), lane = opaque(threadIdx.x & 31), warp = opaque(threadIdx.x >> 5);
    const unsigned block = opaque(blockIdx.x), together = p.columns * heads, units = together * most;
    if (block >= units) return;
    const half* keys = reinterpret_cast<const half*>(at<const uint8_t>(p.keys) + layer * p.cacheStride);
    const half* values = reinterpret_cast<const half*>(at<const uint8_t>(p.values) + layer * p.cacheStride);
    const int innerPad = p.matrices[O].chunks * CHUNK_K;
    unsigned* done = at<unsigned>(p.counters) + (layer * POINTS + 2) * COUNTER_WORDS;
    unsigned* joins = at<unsigned>(p.counters) + ((p.layers + 1) * POINTS) * COUNTER_WORDS + layer * (MAX_COLUMNS + 1) * heads;
    // a lane takes 8 dimensions of up to 4 keys; `lanes` lanes make a piece, 4096 / width pieces the block
    const int lanes = width / 8, part = lane & (lanes - 1), keysAtOnce = 32 >> (shift - 3), pieces = 4096 >> shift;
    const int piece = warp * keysAtOnce + (lane >> (shift - 3));
    float* outs = reinterpret_cast<float*>(s.work());
    float2* heads2 = reinterpret_cast<float2*>(outs + 4096);
    STAMP(2, layer, 900);
    wait_ready();
    STAMP(2, layer, 901);
#pragma unroll 1
    for (unsigned f = block; f < units; f += gridDim.x) {
      const unsigned split = most == 1 ? 0 : f / together, rest = f - split * together;
      const unsigned column = p.columns == 1 ? 0 : rest / heads, head = rest - column * heads, fed = p.firstColumn + column;
      const unsigned row = p.perRow == 1 ? fed : fed / p.perRow;
      const int position = p.length + fed - row * p.perRow, splits = position / SPLIT_KEYS + 1;
      if ((int)split >= splits) continue;

      // Everything is loaded before anything is used. Keys beyond the position stand for it and get no weight.
      uint4 k[4], v[4];
      float extra[4];
      const float4* query = at<const float4>(p.q) + (column * query_width() + head * width + part * 8) / 4;
      const float4 q0 = __ldcg(query), q1 = __ldcg(query + 1);
      const float* bias = at<const float>(p.bias) + (size_t)layer * p.biasStride + head * (p.maxDistance + 1);
      const int firstKey = split * SPLIT_KEYS + warp * 4 + (lane >> (shift - 3));
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (i * 64 >= width) break;
        const int key = min(firstKey + i * keysAtOnce, position);
        const unsigned from = p.rowOf ? at<const uint8_t>(p.rowOf)[(size_t)row * p.capacity + key] : row;
        const size_t place = ((size_t)((from * heads + head) * p.capacity + key) << shift) / 8 + part;
        k[i] = __ldcg(reinterpret_cast<const uint4*>(keys) + place);
        v[i] = __ldcg(reinterpret_cast<const uint4*>(values) + place);
        extra[i] = __ldg(bias + min(position - key, p.maxDistance));
      }
      STAMP(2, layer, 902);
      float score[4], top = -1e30f;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (i * 64 >= width) break;
        const half2* h = reinterpret_cast<const half2*>(&k[i]);
        const float2 a = __half22float2(h[0]), bb = __half22float2(h[1]), c = __half22float2(h[2]), d = __half22float2(h[3]);
        score[i] = (fmaf(q0.x, a.x, q0.y * a.y) + fmaf(q0.z, bb.x, q0.w * bb.y)) + (fmaf(q1.x, c.x, q1.y * c.y) + fmaf(q1.z, d.x, q1.w * d.y));
      }
#pragma unroll
      for (int o = 16; o; o /= 2)
        if (o < lanes) {
#pragma unroll
          for (int i = 0; i < 4; i++)
            if (i * 64 < width) score[i] += __shfl_xor_sync(~0u, score[i], o);
        }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (i * 64 >= width) break;
        score[i] = firstKey + i * keysAtOnce <= position ? score[i] + extra[i] : -INFINITY;
        top = fmaxf(top, score[i]);
      }
      STAMP(2, layer, 903);
      float total = 0, sum[8] = {};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (i * 64 >= width) break;
        const float weight = __expf(score[i] - top);
        total += weight;
        const half2* h = reinterpret_cast<const half2*>(&v[i]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const float2 value = __half22float2(h[j]);
          sum[2 * j] = fmaf(weight, value.x, sum[2 * j]), sum[2 * j + 1] = fmaf(weight, value.y, sum[2 * j + 1]);
        }
      }
      STAMP(2, layer, 904);
      float4* mine = reinterpret_cast<float4*>(outs + (piece << shift) + part * 8);
      mine[0] = make_float4(sum[0], sum[1], sum[2], sum[3]), mine[1] = make_float4(sum[4], sum[5], sum[6], sum[7]);
      if (part == 0) heads2[piece] = make_float2(top, total);
      consumers_sync();
      STAMP(2, layer, 910);
      const bool owns = (int)threadIdx.x < width;
      float out = 0;
      total = 0, top = -1e30f;
      if (owns) {
#pragma unroll 4
        for (int i = 0; i < pieces; i++) top = fmaxf(top, heads2[i].x);
#pragma unroll 4
        for (int i = 0; i < pieces; i++) {
          const float2 h = heads2[i];
          const float factor = __expf(h.x - top);
          total = fmaf(factor, h.y, total), out = fmaf(factor, outs[(i << shift) + threadIdx.x], out);
        }
      }
      STAMP(2, layer, 911);
      half* attended = at<half>(p.attended) + column * innerPad + head * p.dKv;
      if (splits == 1) {
        if ((int)threadIdx.x < p.dKv) store(attended + threadIdx.x, __float2half(__fdividef(out, total)));
        consumers_sync();
        if (threadIdx.x == 0) count_in(done);
        continue;
      }
      const int mostPieces = (p.capacity + SPLIT_KEYS - 1) / SPLIT_KEYS, stride = width + 8;
      float* left = at<float>(p.partial) + (size_t)((column * heads + head) * mostPieces) * stride;
      float* ours = left + split * stride;
      if (owns) {
        store(ours + threadIdx.x, out);
        if (threadIdx.x == 0) store(ours + width, top), store(ours + width + 1, total);
      }
      consumers_sync();
      if (threadIdx.x == 0) *s.word() = count_in_and_read(joins + column * heads + head);
      consumers_sync();
      if (*s.word() == (unsigned)splits - 1) {
        if ((int)threadIdx.x < p.dKv)
          store(attended + threadIdx.x, __float2half(join_pieces(left, left + width, stride, splits, threadIdx.x)));
        consumers_sync();
        if (threadIdx.x == 0) count_in(done);
      }
    }
    consumers_sync();
    STAMP(2, layer, 999);
  }

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

  // ------------------------------------------------------------------------------------------ cross-attention

  // The source's keys and values come through the ring, in A fragments (decoder_pack.cu). A stage holds 4096 / headWidth
  // keys of one head; four warps share it: each takes 16 keys (or, with wide heads, the same 16 keys as its neighbours)
  // and 64 of the head's dimensions. A block's four groups of warps take its stages in turn; then the 16 warps' results
  // are joined in a tree, and those of the blocks of a head by the last of them to finish.
  __device__ void cross_attention(int layer) {
    const int heads = opaque(p.heads), parts = heads * p.crossParts, block = opaque(blockIdx.x);
    if (block >= parts) return;
    const int lane = opaque(threadIdx.x & 31), warp = opaque(threadIdx.x >> 5), g = lane >> 2, t = lane & 3;
    const int width = opaque(p.headWidth), innerPad = p.matrices[XO].chunks * CHUNK_K;
    const int sharing = width / 64, quarter = warp % 4;
    const int keyTile = quarter >> (p.widthShift - 6), slice = quarter & (sharing - 1);
    unsigned* done = at<unsigned>(p.counters) + (layer * POINTS + 5) * COUNTER_WORDS;
    unsigned* joins = at<unsigned>(p.counters) + ((p.layers + 1) * POINTS) * COUNTER_WORDS +
                      (layer * (MAX_COLUMNS + 1) + MAX_COLUMNS) * p.heads;
    STAMP(2, layer, 1900);
    wait_ready();
    STAMP(2, layer, 1901);
    #pragma unroll 1
    for (int f = block; f < parts; f += gridDim.x) {
      const int head = f / p.crossParts, part = f - head * p.crossParts;
      const int first = part * p.crossShare, count = min(p.crossShare, p.crossSlots - first);
      Fragments b;
      load_halves(b, at<const half>(p.xqueries), query_width(), head * width, width / 64);
      float m[2] = {-1e30f, -1e30f}, l[2] = {0, 0}, out[4][4] = {};
      STAMP(2, layer, 1902);
      Ring mine = ring;
      mine.advance(warp / 4);
      for (int j = warp / 4; j < count; j += 4) {
        barrier_wait(s.full(mine.slot), mine.phase);
        const uint8_t* stage = s.stage(mine.slot) + keyTile * (width / 16) * 512 + lane * 16;
        float c[4] = {0, 0, 0, 0}, c2[4] = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < 16; i += 2) {
          if (i * 16 >= width) break;
          const uint4 a = *reinterpret_cast<const uint4*>(stage + i * 512), a2 = *reinterpret_cast<const uint4*>(stage + i * 512 + 512);
          mma16816(c, a.x, a.y, a.z, a.w, b[2 * i], b[2 * i + 1]);
          mma16816(c2, a2.x, a2.y, a2.z, a2.w, b[2 * i + 2], b[2 * i + 3]);
        }
        const int key = ((first + j) << (12 - p.widthShift)) + keyTile * 16 + g;
        const bool in0 = key < p.sourceLength, in1 = key + 8 < p.sourceLength;
        uint32_t weights[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float u = in0 ? c[i] + c2[i] : -1e30f, v = in1 ? c[i + 2] + c2[i + 2] : -1e30f;
          float top = fmaxf(u, v);
          top = fmaxf(top, __shfl_xor_sync(~0u, top, 4));
          top = fmaxf(top, __shfl_xor_sync(~0u, top, 8));
          top = fmaxf(top, __shfl_xor_sync(~0u, top, 16));
          top = fmaxf(top, m[i]);
          const float old = __expf(m[i] - top), pu = in0 ? __expf(u - top) : 0.f, pv = in1 ? __expf(v - top) : 0.f;
          m[i] = top;
          l[i] = l[i] * old + (pu + pv);
#pragma unroll
          for (int tile = 0; tile < 4; tile++) out[tile][i] *= old, out[tile][i + 2] *= old;
          c[i] = pu, c[i + 2] = pv;
        }
        // from rows = keys to columns = keys: the B operand of values x weights
        weights[0] = pack_half2(c[0], c[1]), weights[1] = pack_half2(c[2], c[3]);
#pragma unroll
        for (int i = 0; i < 2; i++)
          asm("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(weights[i]) : "r"(weights[i]));
#pragma unroll
        for (int tile = 0; tile < 4; tile++) {
          const uint4 a = *reinterpret_cast<const uint4*>(stage + CROSS_BYTES / 2 + (slice * 4 + tile) * 512);
          mma16816(out[tile], a.x, a.y, a.z, a.w, weights[0], weights[1]);
        }
        __syncwarp();
        if (lane == 0) barrier_arrive(s.empty(mine.slot));
        mine.advance(4);
      }
      ring.advance(count);
      STAMP(2, layer, 1910);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        l[i] += __shfl_xor_sync(~0u, l[i], 4);
        l[i] += __shfl_xor_sync(~0u, l[i], 8);
        l[i] += __shfl_xor_sync(~0u, l[i], 16);
      }
      for (int stride = 8; stride >= sharing; stride /= 2) {
        // NC = 1 keeps column 0 only: lanes with t = 0
        constexpr int FLOATS = NC == 1 ? 72 : 528;
        float* slotOf = reinterpret_cast<float*>(s.work()) + (warp & (stride - 1)) * FLOATS;
        if (warp >= stride && warp < 2 * stride) {
          if (NC == 1) {
            if (t == 0) {
#pragma unroll
              for (int tile = 0; tile < 4; tile++) slotOf[tile * 16 + g] = out[tile][0], slotOf[tile * 16 + g + 8] = out[tile][2];
              if (g == 0) slotOf[64] = m[0], slotOf[65] = l[0];
            }
          } else {
#pragma unroll
            for (int tile = 0; tile < 4; tile++)
              reinterpret_cast<float4*>(slotOf)[tile * 32 + lane] = make_float4(out[tile][0], out[tile][1], out[tile][2], out[tile][3]);
            if (g == 0) reinterpret_cast<float4*>(slotOf + 512)[t] = make_float4(m[0], m[1], l[0], l[1]);
          }
        }
        consumers_sync();
        if (warp < stride) {
          float m2[2], l2[2], o2[4][4];
          if (NC == 1) {
            m2[0] = slotOf[64], l2[0] = slotOf[65];
#pragma unroll
            for (int tile = 0; tile < 4; tile++) o2[tile][0] = slotOf[tile * 16 + g], o2[tile][2] = slotOf[tile * 16 + g + 8];
          } else {
            const float4 ml = reinterpret_cast<const float4*>(slotOf + 512)[t];
            m2[0] = ml.x, m2[1] = ml.y, l2[0] = ml.z, l2[1] = ml.w;
#pragma unroll
            for (int tile = 0; tile < 4; tile++) {
              const float4 v = reinterpret_cast<const float4*>(slotOf)[tile * 32 + lane];
              o2[tile][0] = v.x, o2[tile][1] = v.y, o2[tile][2] = v.z, o2[tile][3] = v.w;
            }
          }
#pragma unroll
          for (int i = 0; i < (NC == 1 ? 1 : 2); i++) {
            const float top = fmaxf(m[i], m2[i]), mineFactor = __expf(m[i] - top), theirs = __expf(m2[i] - top);
            m[i] = top;
            l[i] = l[i] * mineFactor + l2[i] * theirs;
#pragma unroll
            for (int tile = 0; tile < 4; tile++) {
              out[tile][i] = out[tile][i] * mineFactor + o2[tile][i] * theirs;
              out[tile][i + 2] = out[tile][i + 2] * mineFactor + o2[tile][i + 2] * theirs;
            }
          }
        }
        consumers_sync();
      }
      STAMP(2, layer, 1911);
      // warps 0 .. sharing - 1 now hold the block's result, 64 dimensions each
      half* attended = at<half>(p.attended) + head * p.dKv;
      const int stride = MAX_COLUMNS * (width + 2);
      float* pieces = at<float>(p.partial) + (size_t)head * p.crossParts * stride;
      if (warp < sharing) {
#pragma unroll
        for (int i = 0; i < (NC == 1 ? 1 : 2); i++) {
          const int column = 2 * t + i;
          if (column >= p.columns) continue;
          float* piece = pieces + (size_t)part * stride + column * (width + 2);
#pragma unroll
          for (int tile = 0; tile < 4; tile++)
#pragma unroll
            for (int half8 = 0; half8 < 2; half8++) {
              const int dim = slice * 64 + tile * 16 + half8 * 8 + g;
              const float value = out[tile][i + 2 * half8];
              if (p.crossParts > 1) store(piece + dim, value);
              else if (dim < p.dKv) store(attended + column * innerPad + dim, __float2half(__fdividef(value, l[i])));
            }
          if (p.crossParts > 1 && warp == 0 && g == 0) store(piece + width, m[i]), store(piece + width + 1, l[i]);
        }
      }
      consumers_sync();
      if (p.crossParts == 1) {
        if (threadIdx.x == 0) count_in(done);
        continue;
      }
      STAMP(2, layer, 1912);
      if (threadIdx.x == 0) *s.word() = count_in_and_read(joins + head);
      STAMP(2, layer, 1913);
      consumers_sync();
      if (*s.word() == (unsigned)p.crossParts - 1) {
        for (int i = threadIdx.x; i < p.columns << p.widthShift; i += CONSUMERS) {
          const int column = i >> p.widthShift, dim = i & (width - 1);
          const float* piece = pieces + column * (width + 2);
          if (dim >= p.dKv) continue;
          store(attended + column * innerPad + dim, __float2half(join_pieces(piece, piece + width, stride, p.crossParts, dim)));
        }
        consumers_sync();
        if (threadIdx.x == 0) count_in(done);
      }
    }
    consumers_sync();
    STAMP(2, layer, 1999);
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

// ----------------------------------------------------------------------------------------------------- epilogue

__device__ __forceinline__ float activate(float v, int kind) {
  if (kind == RELU) return fmaxf(v, 0.f);
  // gelu_new(v) = v (1 + tanh(u)) / 2 = v / (1 + exp(-2u)), u = sqrt(2 / pi) (v + 0.044715 v^3)
  const float u = kind == SILU ? v : 1.5957691216057308f * (v + 0.044715f * v * v * v);
  return __fdividef(v, 1.f + __expf(-u));
}

// A running maximum and sum of exponentials of logits.
struct Best {
  float top = -INFINITY, sum = 0;
  int id = 0x7fffffff;
  __device__ __forceinline__ void add(float v, int which) {
    if (v > top) {
      sum = sum * __expf(top - v) + 1.f;
      top = v, id = which;
    } else {
      sum += __expf(v - top);
    }
  }
  __device__ __forceinline__ void join(float otherTop, float otherSum, int otherId) {
    const float high = fmaxf(top, otherTop);
    // both empty: exp(-inf + inf) would not be a number
    const float mine = top == -INFINITY ? 0.f : sum * __expf(top - high);
    const float theirs = otherTop == -INFINITY ? 0.f : otherSum * __expf(otherTop - high);
    if (otherTop > top || (otherTop == top && otherId < id)) id = otherId;
    top = high, sum = mine + theirs;
  }
  __device__ __forceinline__ void join_lane(int distance) {
    const float t2 = __shfl_xor_sync(~0u, top, distance), s2 = __shfl_xor_sync(~0u, sum, distance);
    join(t2, s2, __shfl_xor_sync(~0u, id, distance));
  }
};

template <int NC>
struct Epilogue {
  const StepParams& p;
  const Shared<NC> s;
  int unit = 0;
  const int lane = threadIdx.x & 31;
  // The values of a tile that a lane holds: NC = 1: row = lane (upper half idle); else columns 4 (lane & 1) .. of row lane / 2.
  static constexpr int VALUES = NC == 1 ? 1 : 4;
  const int row = NC == 1 ? lane & 15 : lane >> 1, firstColumn = NC == 1 ? 0 : (lane & 1) * 4;
  const bool holds = NC > 1 || lane < 16;

  __device__ Epilogue(const StepParams& params, const Shared<NC>& shared) : p(params), s(shared) {}

  __device__ __forceinline__ unsigned* point(int layer, int which) {
    return at<unsigned>(p.counters) + (layer * POINTS + which) * COUNTER_WORDS;
  }

  __device__ __forceinline__ void arrive(unsigned* counter) {
    __syncwarp();
    if (lane == 0) count_in(counter);
  }

  // Waits for the grid, then lets this block's consumers go on. All of them must have gone on from the last time before:
  // a barrier that is two phases ahead looks like one that has not moved.
  // Before a product of normed activations it then gives them the norm's factors.
  uint32_t takenPhase = 1;
  __device__ __forceinline__ void open(const unsigned* counter, unsigned arrivals, bool normed) {
    if (lane == 0) {
      wait_for(counter, arrivals);
      barrier_wait(s.taken(), takenPhase);
      barrier_arrive(s.ready());
    }
    takenPhase ^= 1;
    __syncwarp();
    if (!normed) return;
    const int column = NC == 1 ? 0 : lane >> 2;
    const float inverse = inverse_rms(p, column < p.columns ? column : 0);
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

  __device__ __forceinline__ void store_squares(const float (&squares)[VALUES], int mine) {
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const float sum = sum_rows(squares[i]);
      const int column = firstColumn + i;
      if (row == 0 && holds && column < p.columns) {
        float* to = at<float>(p.squares) + column * p.gridPad + mine;
        store(to, sum);
      }
    }
  }

  // Stores values of neuron k scaled by the power of two that its 8 neighbours share.
  __device__ __forceinline__ void store_hidden(const float (&v)[VALUES], int k, bool stores) {
    int e[VALUES];
    half h[VALUES];
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      float top = fabsf(v[i]);
#pragma unroll
      for (int o = 1; o < 8; o *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, NC == 1 ? o : 2 * o));
      e[i] = min(max((int)(__float_as_uint(top) >> 23) - 127, -100), 126);
      h[i] = __float2half(v[i] * power_of_two(-e[i]));
    }
    const unsigned width = p.matrices[WO].chunks * CHUNK_K;
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const unsigned place = (firstColumn + i) * width + k;
      if (stores && firstColumn + i < p.columns) {
        half* to = at<half>(p.hidden) + place;
        store(to, h[i]);
        if (k % 8 == 0) {
          int8_t* power = at<int8_t>(p.exponents) + place / 8;
          store(power, (int8_t)e[i]);
        }
      }
    }
  }

  // Adds up the partial sums of each of this block's units in order, and does what follows each product.
  __device__ __forceinline__ void product(int layer, int which, Best (&best)[VALUES]) {
    const Matrix& m = p.matrices[which];
    const int mine = turn(layer, which), dp = p.matrices[WI].chunks * CHUNK_K;
    const int inner = p.heads << p.widthShift, ip = (inner + CHUNK_K - 1) & ~(CHUNK_K - 1);
    const bool adds = which == O || which == XO || which == WO;
    float squares[VALUES] = {}, old[VALUES] = {};
    unsigned cacheAt[VALUES];  // where in a cache the first head of this column's new token begins
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
      const unsigned fed = p.firstColumn + firstColumn + i, cacheRow = p.perRow == 1 ? fed : fed / p.perRow;
      cacheAt[i] = cacheRow * p.heads * p.capacity + p.length + (fed - cacheRow * p.perRow);
    }
    for_units<Shape<NC>::TILES_IN_PARTS>(m, mine, [&](int group, int part, int place) {
      const int inPart = chunks_in_part(m, part), tiles = tiles_in_group(m, group), buffer = unit % Shape<NC>::SUMS;
      const auto load_x = [&](int tile) {
#pragma unroll
        for (int i = 0; i < VALUES; i++)
          if (firstColumn + i < p.columns) old[i] = __ldcg(at<float>(p.x) + (firstColumn + i) * dp + tile * TILE_ROWS + row);
      };
      if (adds && part == m.parts - 1) load_x(group * m.group);
      STAMP(1, layer, 100 * which + 10);
      barrier_wait(s.sums_full(buffer), (unit / Shape<NC>::SUMS) & 1);
      STAMP(1, layer, 100 * which + 11);
      const float* sums = reinterpret_cast<const float*>(s.work()) + buffer * Shape<NC>::SUM_FLOATS;
#pragma unroll 1
      for (int in = 0; in < tiles; in++) {
        float v[VALUES] = {};
        const float* from = sums + in * inPart * TILE_ROWS * NC + (NC == 1 ? row : lane * 4);
#pragma unroll
        for (int chunk = 0; chunk < CONSUMER_WARPS; chunk++) {
          if (chunk >= inPart) break;
          if (NC == 1) {
            v[0] += from[chunk * TILE_ROWS];
          } else {
            const float4 w = *reinterpret_cast<const float4*>(from + chunk * TILE_ROWS * NC);
            v[0] += w.x, v[1] += w.y, v[2] += w.z, v[3] += w.w;
          }
        }
        if (in == tiles - 1) {
          __syncwarp();
          if (lane == 0) barrier_arrive(s.sums_empty(buffer));
        }
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
#pragma unroll
          for (int i = 0; i < VALUES; i++) {
            const float sum = old[i] + v[i];
            squares[i] += sum * sum;
            if (holds && firstColumn + i < p.columns) store(at<float>(p.x) + (firstColumn + i) * dp + n, sum);
          }
        } else if (which == WI) {
          float h[VALUES];
#pragma unroll
          for (int i = 0; i < VALUES; i++) h[i] = activate(v[i], p.activation);
          if (p.gated) {
#pragma unroll
            for (int i = 0; i < VALUES; i++) h[i] *= __shfl_down_sync(~0u, v[i], NC == 1 ? 8 : 16);
          }
          store_hidden(h, p.gated ? tile * 8 + (row & 7) : n, holds && (row < 8 || !p.gated));
        } else if (which == QKV) {
          const int third = (n >= inner) + (n >= 2 * inner), in3 = n - third * inner;
          half* cache = reinterpret_cast<half*>(at<uint8_t>(third == 1 ? p.keys : p.values) + layer * p.cacheStride);
          const int head = in3 >> p.widthShift, dim = in3 & (p.headWidth - 1);
#pragma unroll
          for (int i = 0; i < VALUES; i++) {
            if (!holds || firstColumn + i >= p.columns) continue;
            if (third == 0) store(at<float>(p.q) + (firstColumn + i) * ip + in3, v[i]);
            else store(cache + ((size_t)(cacheAt[i] + head * p.capacity) << p.widthShift) + dim, __float2half(v[i]));
          }
        } else if (which == XQ) {
#pragma unroll
          for (int i = 0; i < VALUES; i++)
            if (holds && firstColumn + i < p.columns) store(at<half>(p.xqueries) + (firstColumn + i) * ip + n, __float2half(v[i]));
        } else {
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
    if (adds && mine < groups_of(m)) store_squares(squares, mine);
  }

  __device__ void embed() {
    const int mine = turn(p.layers, O), width = p.matrices[WI].chunks * CHUNK_K, groups = groups_of(p.matrices[O]);
    float squares[VALUES] = {};
    for (int group = mine; group < groups; group += gridDim.x)
      for (int tile = group * p.matrices[O].group; tile < group * p.matrices[O].group + tiles_in_group(p.matrices[O], group); tile++) {
#pragma unroll
        for (int i = 0; i < VALUES; i++) {
          const int column = firstColumn + i;
          if (column >= p.columns) continue;
          float eight[8];
          const int k = tile * TILE_ROWS + row;
          embedding8(at<const uint8_t>(p.embedding), p.matrices[WI].chunks, p.tokens[column], k & ~7, eight);
          float v = 0;
#pragma unroll
          for (int j = 0; j < 8; j++) v = (k & 7) == j ? eight[j] : v;
          squares[i] += v * v;
          float* to = at<float>(p.x) + (size_t)column * width + k;
          if (holds) store(to, v);
        }
      }
    if (mine < groups) store_squares(squares, mine);
  }

  // Joins this block's best logits with the others'; the last block to finish writes the results.
  __device__ void output(Best (&best)[VALUES]) {
    const int mine = turn(p.layers, HEAD), groups = groups_of(p.matrices[HEAD]), width = p.matrices[HEAD].tiles * TILE_ROWS;
    if (mine >= groups) return;
    float* bests = at<float>(p.bests);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
#pragma unroll
      for (int o = 8; o; o /= 2) best[i].join_lane(NC == 1 ? o : 2 * o);
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
        all.join(__ldcg(from), __ldcg(from + 1), __float_as_int(__ldcg(from + 2)));
      }
#pragma unroll
      for (int o = 16; o; o /= 2) all.join_lane(o);
      if (lane == 0) {
        const float target = __ldcg(at<const float>(p.logits) + (size_t)column * width + p.targets[column]);
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
    Best best[VALUES];
    embed();
    arrive(point(0, 0));
#pragma unroll 1
    for (int layer = 0; layer <= p.layers; layer++) {
#pragma unroll 1
      for (int phase = 0; phase < (layer < p.layers ? 8 : 1); phase++) {
        const bool attends = phase == 1 || phase == 4;
        const int which = layer == p.layers ? HEAD : phase - (phase > 1) - (phase > 4);
        const bool works = phase == 1 ? self : phase == 4 ? cross : turn(layer, which) < groups_of(p.matrices[which]);
        const unsigned arrivals = phase == 2 ? p.columns * p.heads : phase == 5 ? p.heads : gridDim.x;
        if (works) open(point(layer, phase), arrivals, phase == 0 || phase == 3 || phase == 6);
        STAMP(1, layer, 6000 + phase);
        if (attends) continue;
        product(layer, which, best);
        if (layer < p.layers) arrive(phase == 7 ? point(layer + 1, 0) : point(layer, phase + 1));
        STAMP(1, layer, 5000 + phase);
      }
    }
    output(best);
  }
};

// ------------------------------------------------------------------------------------------------------- kernel

template <int NC>
__device__ __forceinline__ void step(const StepParams& p) {
  extern __shared__ __align__(128) uint8_t memory[];
  Shared<NC> s(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; i++) {
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
      barrier_init(s.full(i), 1);
#else
      barrier_init(s.full(i), 32);
#endif
      barrier_init(s.empty(i), STAGE_CHUNKS);
    }
    for (int i = 0; i < Shape<NC>::SUMS; i++) {
      barrier_init(s.sums_full(i), CONSUMER_WARPS);
      barrier_init(s.sums_empty(i), 1);
    }
    barrier_init(s.ready(), 1);
    barrier_init(s.taken(), CONSUMER_WARPS);
    barrier_init(s.scaled(), 1);
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  }
  // the next launch counts in other words, which nobody uses now
  for (int i = blockIdx.x * STEP_THREADS + threadIdx.x; i < p.counterWords; i += gridDim.x * STEP_THREADS)
    at<unsigned>(p.nextCounters)[i] = 0;
  __syncthreads();
  const int warp = threadIdx.x >> 5;
  if (warp < CONSUMER_WARPS) {
    Consumer<NC>(p, s).run();
  } else if (warp == EPILOGUE_WARP) {
    Epilogue<NC>(p, s).run();
  } else {
#if __CUDA_ARCH__ >= 900 && !defined(FLAN_CP_ASYNC)
    if ((threadIdx.x & 31) == 0)
#endif
      Producer<NC>(p, s).run();
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(STEP_THREADS, 1) decoder_step_1(const __grid_constant__ StepParams p) { step<1>(p); }
extern "C" __global__ void __launch_bounds__(STEP_THREADS, 1) decoder_step_8(const __grid_constant__ StepParams p) { step<8>(p); }
