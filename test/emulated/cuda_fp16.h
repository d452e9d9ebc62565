// Stands in for CUDA's header of the same name when the kernels are compiled for an ordinary processor: the types and
// intrinsics that the decoder's kernels use, with the meaning they have on a card.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulator.h"

#define __device__
#define __global__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (emulated::Index{emulated::current->thread})
#define blockIdx (emulated::Index{emulated::current->block->index})
#define gridDim (emulated::Index{emulated::current->block->blocks})
#define blockDim (emulated::Index{emulated::current->block->threads})

struct half {
  uint16_t bits;
};
struct half2 {
  half x, y;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename To, typename From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline float __half2float(half h) { return (float)bits_as<_Float16>(h); }
inline half __float2half(float f) { return bits_as<half>((_Float16)f); }
inline half __ushort_as_half(unsigned short u) { return {u}; }
inline unsigned short __half_as_ushort(half h) { return h.bits; }
inline half2 __half2half2(half h) { return {h, h}; }
inline float2 __half22float2(half2 h) { return {__half2float(h.x), __half2float(h.y)}; }
inline half2 __floats2half2_rn(float a, float b) { return {__float2half(a), __float2half(b)}; }
// One operation on two halves is exact in float before it is rounded.
inline half2 __hsub2(half2 a, half2 b) { return __floats2half2_rn(__half2float(a.x) - __half2float(b.x), __half2float(a.y) - __half2float(b.y)); }
inline half2 __hmul2(half2 a, half2 b) { return __floats2half2_rn(__half2float(a.x) * __half2float(b.x), __half2float(a.y) * __half2float(b.y)); }

inline float __expf(float v) { return expf(v); }
inline float __logf(float v) { return logf(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float v) { return 1.f / sqrtf(v); }
inline float __int_as_float(int v) { return bits_as<float>(v); }
inline int __float_as_int(float v) { return bits_as<int>(v); }
inline unsigned __float_as_uint(float v) { return bits_as<unsigned>(v); }

template <typename A, typename B>
inline std::common_type_t<A, B> min(A a, B b) {
  return std::min<std::common_type_t<A, B>>(a, b);
}
template <typename A, typename B>
inline std::common_type_t<A, B> max(A a, B b) {
  return std::max<std::common_type_t<A, B>>(a, b);
}

inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const uint64_t both = (uint64_t)b << 32 | a;
  unsigned out = 0;
  for (int i = 0; i < 4; i++) out |= (unsigned)(both >> (8 * (select >> (4 * i) & 7)) & 255) << (8 * i);
  return out;
}

template <typename T>
inline T __ldcg(const T* p) {
  return *p;
}
template <typename T>
inline T __ldg(const T* p) {
  return *p;
}

template <typename T>
inline T shuffle(T v, int from) {
  const unsigned mine = bits_as<unsigned>(v);
  return bits_as<T>(emulated::exchange(&mine, 1)[from][0]);
}
template <typename T>
inline T __shfl_sync(unsigned, T v, int from) {
  return shuffle(v, from & 31);
}
template <typename T>
inline T __shfl_xor_sync(unsigned, T v, int distance) {
  return shuffle(v, (emulated::current->thread & 31) ^ distance);
}
template <typename T>
inline T __shfl_down_sync(unsigned, T v, int distance) {
  const int lane = emulated::current->thread & 31;
  return shuffle(v, lane + distance < 32 ? lane + distance : lane);
}
inline bool __any_sync(unsigned, bool mine) {
  const unsigned word = mine;
  const auto words = emulated::exchange(&word, 1);
  bool any = false;
  for (int lane = 0; lane < 32; lane++) any |= words[lane][0] != 0;
  if (any) emulated::missed();
  return any;
}
template <typename T>
inline T atomicAdd(T* p, T v) {
  const T old = *p;
  return *p += v, old;
}
inline void atomicMax(unsigned* p, unsigned v) { *p = std::max(*p, v); }
inline void __syncwarp() { emulated::exchange(nullptr, 0); }
inline void __syncthreads() { emulated::meet(0, emulated::current->block->threads); }
