// One m16n8k16 A fragment from 8 int8 weights of a lane.
#pragma once
#include "encoder.cuh"

namespace encoder {

// Bytes {row g: 2; row g+8: 2} in `low` (k 2t, 2t+1) and `high` (k 2t+8, 2t+9), value = q + 128, to fp16 q * scale. 0x64 in front of a
// byte b makes the fp16 number 1024 + b; 1152 less is q, exactly; the product with the scale is rounded once.
__device__ __forceinline__ void dequantize(uint32_t (&a)[4], uint32_t low, uint32_t high, half2 scaleG, half2 scaleG8) {
  const half2 offset = __half2half2(__ushort_as_half(0x6480));
  uint32_t r[4] = {__byte_perm(low, 0x64646464u, 0x4140), __byte_perm(low, 0x64646464u, 0x4342),
                   __byte_perm(high, 0x64646464u, 0x4140), __byte_perm(high, 0x64646464u, 0x4342)};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    half2 h = __hmul2(__hsub2(*reinterpret_cast<half2*>(&r[i]), offset), (i & 1) ? scaleG8 : scaleG);
    a[i] = *reinterpret_cast<uint32_t*>(&h);
  }
}

}  // namespace encoder
