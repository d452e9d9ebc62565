// Runs a grid of CUDA threads on one ordinary thread: every CUDA thread is a coroutine, which goes on until it has to wait
// for others. Which one goes on next, when a copy in the background arrives, and when a store to global memory does, is drawn
// from a seeded generator: an ordering that the kernels take for granted but do not enforce shows up as a wrong result or
// as a deadlock. A store is seen late by its own block too, but for the thread that made it, or until a thread of its block
// releases.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace emulated {

struct Index {
  unsigned x;
};

// A store on its way.
struct Late {
  const void* thread;
  uint8_t* to;
  uint8_t bytes[16];
  size_t size;
};

struct Warp {
  unsigned words[2][32][6];  // what each lane shows the others, of the meeting now and the one before
  int arrived = 0;
  uint64_t meetings = 0;
};

struct Block {
  unsigned index, blocks, threads;
  std::vector<Warp> warps;
  std::unique_ptr<uint8_t[]> memory;
  uint8_t* shared;
  unsigned arrived[3] = {0, 0, 0};
  uint64_t meetings[3] = {0, 0, 0};
  std::vector<Late> late;
};

struct Thread {
  Block* block;
  unsigned thread;
  ucontext_t context;  // to enter it; then `here`, because swapcontext asks the system for its signal mask each time
  jmp_buf here;
  bool entered = false;
  const std::function<bool()>* waits = nullptr;
  bool done = false;
};

struct Copy {
  uint8_t* to;
  const uint8_t* from;
  int bytes;
  uint64_t* barrier;
};

inline Thread* current = nullptr;
inline jmp_buf scheduler;
inline std::vector<Copy> copies;
inline const std::function<void()>* body = nullptr;

inline void land(const Late& store) { memcpy(store.to, store.bytes, store.size); }
inline bool overlap(const Late& store, const void* p, size_t size) {
  return (const uint8_t*)p < store.to + store.size && store.to < (const uint8_t*)p + size;
}

// Lands all stores of the block of which `which` is true.
template <typename Which>
inline void land_late(Block& block, Which which) {
  std::vector<Late> left;
  for (const Late& store : block.late) {
    if (which(store)) land(store);
    else left.push_back(store);
  }
  block.late.swap(left);
}

// Whatever the thread itself stored there.
inline void see_own(const void* p, size_t size) {
  Block& block = *current->block;
  for (const Late& store : block.late)
    if (store.thread == current && overlap(store, p, size))
      return land_late(block, [&](const Late& s) { return s.thread == current && overlap(s, p, size); });
}

// A store that others see some time later. A place has one store under way at a time.
inline void store_late(void* p, const void* value, size_t size) {
  Block& block = *current->block;
  see_own(p, size);
  Late store{current, (uint8_t*)p, {}, size};
  memcpy(store.bytes, value, size);
  block.late.push_back(store);
}

// All that the block has stored.
inline void release() {
  land_late(*current->block, [](const Late&) { return true; });
}

// Values were not there yet. Those who wait for them forever are found out.
inline uint64_t misses = 0;
inline void missed() {
  if (++misses > 20'000'000) printf("deadlock: values never came\n"), exit(3);
}

// Lets the others go on until `ready`.
inline void wait_until(const std::function<bool()>& ready) {
  if (ready()) return;
  Thread* me = current;
  me->waits = &ready;
  if (_setjmp(me->here) == 0) _longjmp(scheduler, 1);
}

// All lanes of a warp meet and see what each shows.
inline const unsigned (*exchange(const unsigned* mine, int count))[6] {
  Warp& warp = current->block->warps[current->thread / 32];
  const uint64_t meeting = warp.meetings;
  auto& words = warp.words[meeting & 1];
  for (int i = 0; i < count; i++) words[current->thread & 31][i] = mine[i];
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    warp.meetings++;
  } else {
    wait_until([&] { return warp.meetings != meeting; });
  }
  return words;
}

// `count` threads of a block meet at one of its barriers.
inline void meet(int which, unsigned count) {
  Block& block = *current->block;
  const uint64_t meeting = block.meetings[which];
  if (++block.arrived[which] == count) {
    block.arrived[which] = 0;
    block.meetings[which]++;
  } else {
    wait_until([&, which, meeting] { return block.meetings[which] != meeting; });
  }
}

// A barrier in shared memory: arrivals and bytes that its phase still lacks.
struct Barrier {
  uint64_t phase : 1, expected : 15, pending : 16, bytes : 32;
};
static_assert(sizeof(Barrier) == 8, "a barrier is one word");
inline void settle(Barrier& b) {
  if (b.pending > 0 || b.bytes > 0) return;
  b.phase ^= 1;
  b.pending = b.expected;
}

inline void finish(const Copy& copy) {
  memcpy(copy.to, copy.from, copy.bytes);
  Barrier& barrier = *reinterpret_cast<Barrier*>(copy.barrier);
  barrier.bytes -= copy.bytes;
  settle(barrier);
}

inline void enter() {
  (*body)();
  current->done = true;
  _longjmp(scheduler, 1);
}

inline void go_on(Thread& thread) {
  current = &thread;
  if (_setjmp(scheduler) != 0) return;
  if (thread.entered) _longjmp(thread.here, 1);
  thread.entered = true;
  setcontext(&thread.context);
}

// Runs `kernel` in blocks x threads coroutines. Exits the program when they all wait for one another.
inline void launch(const std::function<void()>& kernel, unsigned blocks, unsigned threads, size_t sharedBytes, unsigned seed) {
  constexpr size_t STACK = 64 * 1024;
  std::mt19937 random(seed);
  std::vector<Block> grid(blocks);
  std::vector<Thread> all(blocks * threads);
  static std::vector<std::unique_ptr<uint8_t[]>> stacks;  // kept from one launch to the next
  while (stacks.size() < all.size()) stacks.emplace_back(new uint8_t[STACK]);
  body = &kernel;
  for (unsigned b = 0; b < blocks; b++) {
    Block& block = grid[b];
    block.index = b, block.blocks = blocks, block.threads = threads;
    block.warps.resize((threads + 31) / 32);
    block.memory.reset(new uint8_t[sharedBytes + 128]);
    memset(block.memory.get(), 0xff, sharedBytes + 128);  // NaN, if it is read before it was written
    block.shared = reinterpret_cast<uint8_t*>(((uintptr_t)block.memory.get() + 127) & ~(uintptr_t)127);
    for (unsigned t = 0; t < threads; t++) {
      Thread& thread = all[b * threads + t];
      thread.block = &block, thread.thread = t;
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = stacks[b * threads + t].get();
      thread.context.uc_stack.ss_size = STACK;
      thread.context.uc_link = nullptr;
      makecontext(&thread.context, enter, 0);
    }
  }
  // Warps in a new random order each round; the lanes of one follow each other.
  std::vector<Thread*> order;
  for (auto& thread : all)
    if (thread.thread % 32 == 0) order.push_back(&thread);
  size_t left = all.size();
  // One warp stands still for a while, until the others have gone as far as they can.
  Thread* const slow = order[random() % order.size()];
  const unsigned stops = random() % 400, goesOn = stops + 3000;
  bool waitsForSlow = true;
  for (unsigned round = 0; left > 0; round++) {
    bool moved = false;
    std::shuffle(order.begin(), order.end(), random);
    for (Thread* first : order) {
      if (first == slow && waitsForSlow && round >= stops && round < goesOn) continue;
      const unsigned lanes = std::min(32u, threads - first->thread);
      for (unsigned i = 0; i < lanes; i++) {
        Thread& thread = first[i];
        if (thread.done || (thread.waits && !(*thread.waits)())) continue;
        thread.waits = nullptr;
        go_on(thread);
        moved = true;
        if (thread.done) left--;
      }
    }
    for (size_t i = 0; i < copies.size();) {
      if (random() % 3) {
        i++;
        continue;
      }
      finish(copies[i]);
      copies[i] = copies.back();
      copies.pop_back();
      moved = true;
    }
    for (auto& block : grid)
      if (!block.late.empty()) moved = true, land_late(block, [&](const Late&) { return random() % 4 == 0; });
    if (!moved && copies.empty() && round >= stops && round < goesOn && waitsForSlow) {
      waitsForSlow = false;
    } else if (!moved && copies.empty()) {
      printf("deadlock: %zu threads wait\n", left);
      exit(3);
    }
  }
  for (auto& block : grid) land_late(block, [](const Late&) { return true; });
  misses = 0;
  current = nullptr;
}

// Runs a kernel whose threads do not meet, as one thread.
inline void run_alone(const std::function<void()>& kernel) {
  Block block{};
  block.index = 0, block.blocks = 1, block.threads = 1;
  Thread thread{};
  thread.block = &block, thread.thread = 0;
  current = &thread;
  kernel();
  land_late(block, [](const Late&) { return true; });
  current = nullptr;
}

}  // namespace emulated
