// Picks tokens from the logits of a step, which are still in the second-level cache: the best few of a column, or one
// seeded draw after temperature, top-k and top-p. One block a column; a handful of passes over some 100 KB, where the host
// would copy the logits and take a millisecond for them.
//
// Both ask for "the smallest set of the largest": by count (top-k, the best few) or by probability (top-p). That is a radix
// selection: logits as whole numbers of the same order, histograms of 11, 11 and 10 bits of them, each time the bin in
// which the sum from the top reaches the goal. Probabilities are whole numbers too (2^40 for the most probable token), so
// the order in which threads add does not matter, and the same seed gives the same token every time.
//
// The rules are those of server/engine/pick.ts, which says the same in TypeScript: all logits equal to the last of the
// top k stay; of equal ones at the edge of the nucleus, or of the best few, the lowest ids; a draw goes by the order of ids.
#include "decoder_instructions.cuh"

constexpr int PICK_THREADS = 1024;
constexpr int PICK_BINS = 2 * PICK_THREADS;
constexpr int PICK_BITS = 11;

struct Picked {
  int32_t id;
  float logprob;  // of the unmodified logits
};

struct PickParams {
  uint64_t logits;   // f32 [8][stride]
  uint64_t results;  // Result [8]: the step's
  uint64_t picked;   // Picked [8][count], or [8] of a draw; the best few in no order
  int32_t stride, vocab;
  int32_t count;     // the best so many; 0: a draw
  int32_t topK;      // 0: all
  double inverseTemperature, topP;
  double uniforms[MAX_COLUMNS];  // in [0, 1)
};

struct PickWork {
  unsigned long long bins[PICK_BINS];
  unsigned long long sums[PICK_THREADS / 32];
  unsigned long long above;
  unsigned bin, largest, taken;
};

namespace {

// Whole numbers in the order of the logits; of both zeros the same.
__device__ __forceinline__ unsigned key_of(float v) {
  const unsigned bits = __float_as_uint(v + 0.f);
  return bits ^ ((int)bits < 0 ? 0xffffffffu : 0x80000000u);
}
__device__ __forceinline__ float of_key(unsigned key) {
  return __int_as_float((int)(key & 0x80000000u ? key ^ 0x80000000u : ~key));
}

struct Picker {
  const float* logits;
  const int vocab;
  PickWork& w;
  const int thread = threadIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;

  __device__ unsigned long long shuffle(unsigned long long v, int from) {
    const unsigned low = __shfl_sync(~0u, (unsigned)v, from), high = __shfl_sync(~0u, (unsigned)(v >> 32), from);
    return (unsigned long long)high << 32 | low;
  }

  // The sum of what the threads before this one have; `total`: of all.
  __device__ unsigned long long before(unsigned long long mine, unsigned long long& total) {
    unsigned long long sum = mine;
    for (int o = 1; o < 32; o *= 2) {
      const unsigned long long other = shuffle(sum, lane >= o ? lane - o : lane);
      if (lane >= o) sum += other;
    }
    if (lane == 31) w.sums[warp] = sum;
    __syncthreads();
    unsigned long long others = 0;
    total = 0;
    for (int i = 0; i < PICK_THREADS / 32; i++) {
      if (i < warp) others += w.sums[i];
      total += w.sums[i];
    }
    __syncthreads();
    return others + sum - mine;
  }

  // The key K at which the amounts of all logits with larger keys are less than `goal`, and with those of K reach it;
  // `above`: the former. 0 < goal <= the sum of all amounts.
  template <typename Amount>
  __device__ unsigned select(unsigned long long goal, unsigned long long& above, Amount amount) {
    unsigned prefix = 0;
    int known = 0;
    above = 0;
    for (int pass = 0; pass < 3; pass++) {
      const int bits = pass < 2 ? PICK_BITS : 32 - 2 * PICK_BITS, shift = 32 - known - bits;
      w.bins[thread] = 0, w.bins[thread + PICK_THREADS] = 0;
      __syncthreads();
      for (int i = thread; i < vocab; i += PICK_THREADS) {
        const float v = __ldcg(logits + i);
        const unsigned key = key_of(v);
        if (pass > 0 && key >> (32 - known) != prefix) continue;
        const unsigned long long a = amount(v, key);
        if (a > 0) atomicAdd(&w.bins[key >> shift & ((1u << bits) - 1)], a);
      }
      __syncthreads();
      const int high = PICK_BINS - 1 - 2 * thread;
      unsigned long long total;
      const unsigned long long first = w.bins[high], both = first + w.bins[high - 1], sum = above + before(both, total);
      if (sum < goal && goal <= sum + both) {
        const bool second = goal > sum + first;
        w.bin = high - second, w.above = second ? sum + first : sum;
      }
      __syncthreads();
      prefix = prefix << bits | w.bin, above = w.above, known += bits;
      __syncthreads();
    }
    return prefix;
  }

  __device__ int first_of(int t) const { return (int)((long long)vocab * t / PICK_THREADS); }

  // How many logits of this key the threads before this one have, each a piece of the ids in order.
  __device__ int equals_before(unsigned key) {
    unsigned long long mine = 0, total;
    for (int i = first_of(thread); i < first_of(thread + 1); i++) mine += key_of(__ldcg(logits + i)) == key;
    return (int)before(mine, total);
  }

  __device__ void best(Picked* to, int count, float logSumExp) {
    unsigned long long above;
    const unsigned edge = select(count, above, [](float, unsigned) { return 1ull; });
    int equals = equals_before(edge);
    if (thread == 0) w.taken = 0;
    __syncthreads();
    for (int i = first_of(thread); i < first_of(thread + 1); i++) {
      const float v = __ldcg(logits + i);
      const unsigned key = key_of(v);
      int place = -1;
      if (key > edge) place = (int)atomicAdd(&w.taken, 1u);
      else if (key == edge) place = (int)above + equals++;
      if (place >= 0 && place < count) to[place].id = i, to[place].logprob = v - logSumExp;
    }
  }

  __device__ void draw(Picked* to, const PickParams& p, double uniform, float logSumExp) {
    unsigned own = 0;
    if (thread == 0) w.largest = 0;
    __syncthreads();
    for (int i = thread; i < vocab; i += PICK_THREADS) own = max(own, key_of(__ldcg(logits + i)));
    for (int o = 16; o; o /= 2) own = max(own, __shfl_xor_sync(~0u, own, o));
    if (lane == 0) atomicMax(&w.largest, own);
    __syncthreads();
    const float top = of_key(w.largest);

    unsigned long long above = 0, total, ignored;
    const unsigned floor = p.topK > 0 && p.topK < vocab ? select(p.topK, ignored, [](float, unsigned) { return 1ull; }) : 0;
    const auto weight = [&](float v, unsigned key) {
      return key < floor ? 0ull : (unsigned long long)(expf((v - top) * (float)p.inverseTemperature) * 1099511627776.f);
    };
    unsigned edge = floor;
    int most = vocab;  // of those at the edge
    if (p.topP < 1) {
      unsigned long long mine = 0;
      for (int i = thread; i < vocab; i += PICK_THREADS) {
        const float v = __ldcg(logits + i);
        mine += weight(v, key_of(v));
      }
      before(mine, total);
      const unsigned long long goal = min(max((unsigned long long)ceil(p.topP * (double)total), 1ull), total);
      edge = select(goal, above, weight);
      const unsigned long long one = weight(of_key(edge), edge);
      most = (int)((goal - above + one - 1) / one);
    }

    // Each thread a piece of the ids in order: what it keeps, then where the draw falls.
    const int equals = equals_before(edge);
    const auto walk = [&](auto visit) {
      int seen = equals;
      for (int i = first_of(thread); i < first_of(thread + 1); i++) {
        const float v = __ldcg(logits + i);
        const unsigned key = key_of(v);
        if (key < edge || (key == edge && seen++ >= most)) continue;
        visit(i, v, weight(v, key));
      }
    };
    unsigned long long mine = 0;
    walk([&](int, float, unsigned long long a) { mine += a; });
    const unsigned long long start = before(mine, total);
    const unsigned long long target = min((unsigned long long)(uniform * (double)total), total - 1);
    if (target < start || target >= start + mine) return;
    unsigned long long sum = start;
    bool found = false;
    walk([&](int i, float v, unsigned long long a) {
      sum += a;
      if (found || sum <= target) return;
      found = true;
      to->id = i, to->logprob = v - logSumExp;
    });
  }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(PICK_THREADS, 1) decoder_pick(const __grid_constant__ PickParams p) {
  SHARED_MEMORY(memory);
  const int column = blockIdx.x;
  Picker picker{reinterpret_cast<const float*>(p.logits) + (size_t)column * p.stride, p.vocab, *reinterpret_cast<PickWork*>(memory)};
  Picked* to = reinterpret_cast<Picked*>(p.picked);
  const float logSumExp = reinterpret_cast<const Result*>(p.results)[column].logSumExp;
  // What is not picked, because logits are not numbers, is not a number.
  for (int i = threadIdx.x; i < max(p.count, 1); i += PICK_THREADS) to[(size_t)column * max(p.count, 1) + i] = {0, NAN};
  __syncthreads();
  if (p.count > 0) picker.best(to + (size_t)column * p.count, p.count, logSumExp);
  else picker.draw(to + column, p, p.uniforms[column], logSumExp);
}
