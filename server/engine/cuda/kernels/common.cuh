// What the encoder's and the decoder's kernels share: the embedding's layout in device memory, and the instructions that
// CUDA C++ has no name for.
//
// Weights lie on the card once. Each half re-lays its own while loading: the encoder in units (encoder.cuh), the decoder in
// chunks (decoder.cuh). The cross-attention's k and v matrices of all decoder layers are the encoder's, because they are
// multiplied once a prompt. The embedding is the decoder's, in chunks, because a tied model multiplies by it as its output
// layer; the encoder looks rows up through `embedding8`.
//
// A chunk holds 16 rows x 256 k of a matrix [N, K]: CHUNK_BYTES = 4096 weights (value = q + 128) and 2 x 16 fp16 scales.
// N is padded to 16 and K to 256, with weights that multiply to zero. Chunk (tile, c) = rows 16 tile .. and k 256 c .. lies
// at ((tile * chunks) + c) * CHUNK_BYTES, chunks = paddedK / 256. In a chunk, k counts in four stretches of 64:
//   weights: stretch s, half h of the rows (h = row / 8), lane 4 g + t (g = row % 8), 16 bytes: k = 64 s + 16 t + 0..15
//            at s * 1024 + h * 512 + (4 g + t) * 16. A lane of mma.m16n8k16 takes its A fragments of four k-steps with
//            two 16-byte loads.
//   scales:  of block b (128 k) and row r at 4096 + (r % 8) * 8 + (2 b + r / 8) * 2: one 8-byte load a lane.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

constexpr int TILE_ROWS = 16;
constexpr int CHUNK_K = 256;
constexpr int CHUNK_WEIGHTS = TILE_ROWS * CHUNK_K;
constexpr int CHUNK_BYTES = CHUNK_WEIGHTS + 2 * TILE_ROWS * 2;

// Eight int8 weights of one row, as float. `packed` are two words of four biased bytes.
__device__ __forceinline__ void dequantize8(uint2 packed, float scale, float (&out)[8]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    out[i] = ((int)((packed.x >> (8 * i)) & 255u) - 128) * scale;
    out[4 + i] = ((int)((packed.y >> (8 * i)) & 255u) - 128) * scale;
  }
}

// Eight values k .. k+7 (k a multiple of 8) of row `id` of an embedding in chunks. k beyond the model's width gives zeros.
__device__ __forceinline__ void embedding8(const uint8_t* table, int chunks, int id, int k, float (&out)[8]) {
  const uint8_t* chunk = table + ((size_t)(id / TILE_ROWS) * chunks + k / CHUNK_K) * CHUNK_BYTES;
  const int row = id % TILE_ROWS, in = k % CHUNK_K;
  const uint8_t* p = chunk + (in / 64) * 1024 + (row / 8) * 512 + ((row % 8) * 4 + (in % 64) / 16) * 16 + in % 16;
  const half scale = *reinterpret_cast<const half*>(chunk + CHUNK_WEIGHTS + (row % 8) * 8 + ((in / 128) * 2 + row / 8) * 2);
  dequantize8(*reinterpret_cast<const uint2*>(p), __half2float(scale), out);
}

// One value of the same.
__device__ __forceinline__ float embedding1(const uint8_t* table, int chunks, int id, int k) {
  const uint8_t* chunk = table + ((size_t)(id / TILE_ROWS) * chunks + k / CHUNK_K) * CHUNK_BYTES;
  const int row = id % TILE_ROWS, in = k % CHUNK_K;
  const int weight = chunk[(in / 64) * 1024 + (row / 8) * 512 + ((row % 8) * 4 + (in % 64) / 16) * 16 + in % 16];
  return (weight - 128) * __half2float(*reinterpret_cast<const half*>(chunk + CHUNK_WEIGHTS + (row % 8) * 8 + ((in / 128) * 2 + row / 8) * 2));
}

#ifndef FLAN_EMULATED
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return (uint32_t)__cvta_generic_to_shared(p);
}

// c[4] += A (16 x 16, fp16) * B (16 x 8, fp16); lane 4 g + t holds c = rows g, g+8, columns 2t, 2t+1.
__device__ __forceinline__ void mma16816(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#endif

// Two biased bytes -> two fp16 whole numbers in [-127, 127]: 0x64xx is 1024 + xx, and 1152 = 1024 + 128. Exact.
template <int SELECT>
__device__ __forceinline__ uint32_t dequantize2(uint32_t packed) {
  const uint32_t raised = __byte_perm(packed, 0x64646464u, SELECT);
  const half2 h = __hsub2(*reinterpret_cast<const half2*>(&raised), __half2half2(__ushort_as_half(0x6480)));
  return *reinterpret_cast<const uint32_t*>(&h);
}
constexpr int LOW_PAIR = 0x4140;   // bytes 0, 1
constexpr int HIGH_PAIR = 0x4342;  // bytes 2, 3

__device__ __forceinline__ uint32_t pack_half2(float a, float b) {
  const half2 h = __floats2half2_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&h);
}
