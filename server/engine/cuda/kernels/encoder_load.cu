// Re-lays one int8 matrix of the weight file into the encoder's weight units (see encoder.cuh), once, at load time.
//
// Several matrices of the file may go into one fused matrix: q, k and v below each other; the gate and the up projection
// of a gated feed-forward interleaved by 8 rows, so that both values of a feature meet in the same lane of a product's
// accumulator. Rows that no matrix fills (N padded to 128) keep what the buffer was set to: set it to 0x80 bytes before,
// which is weight zero.
#include "encoder.cuh"

// src     U8 [N, K], K a multiple of 128, value = q + 128
// scales  F16 [N, K / 128]
// units   the fused matrix, K as of src
// row0    first row of this matrix in the fused one
// spread  0: row n goes to row0 + n; 1: to row0 + 16 (n / 8) + n % 8 (gate); 2: 8 rows further (up)
//
// Launch: N * K / 16 threads in blocks of 256, no shared memory. A thread moves 16 weights of one row.
extern "C" __global__ void encoder_relay(const uint8_t* __restrict__ src, const uint16_t* __restrict__ scales,
                                         uint8_t* __restrict__ units, int N, int K, int row0, int spread) {
  using namespace encoder;
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  const int steps = K / 16;
  if (i >= (size_t)N * steps) return;
  const int n = (int)(i / steps), k = (int)(i % steps) * 16;
  const int row = row0 + (spread ? 16 * (n / 8) + n % 8 + 8 * (spread - 1) : n);
  uint8_t* unit = units + ((size_t)(row / UNIT) * (K / UNIT) + k / UNIT) * UNIT_BYTES;
  const int r = row % UNIT, step = (k % UNIT) / 16, high = (r >> 3) & 1;
  const uint4 v = *reinterpret_cast<const uint4*>(src + (size_t)n * K + k);
  const uint32_t word[4] = {v.x, v.y, v.z, v.w};
  uint8_t* group = unit + (r / 16) * 2048 + (step >> 1) * 512 + (step & 1) * 8 + high * 2;
#pragma unroll
  for (int t = 0; t < 4; t++) {
    uint8_t* lane = group + ((r & 7) * 4 + t) * 16;
    *reinterpret_cast<uint16_t*>(lane) = (uint16_t)(word[t >> 1] >> ((t & 1) * 16));
    *reinterpret_cast<uint16_t*>(lane + 4) = (uint16_t)(word[2 + (t >> 1)] >> ((t & 1) * 16));
  }
  if (step == 0) reinterpret_cast<uint16_t*>(unit + UNIT_WEIGHTS)[r] = scales[(size_t)n * (K / UNIT) + k / UNIT];
}

// The relative bias of one block as a table by distance: table[h][i] = bias[bucket[i]][h], i = key - query + M.
// bias F32 [buckets, heads]; bucket I32 [entries], entries = 2 M + 1; table F32 [heads, entries].
// Launch: heads * entries threads in blocks of 256.
extern "C" __global__ void encoder_bias(const float* __restrict__ bias, const int* __restrict__ bucket, float* __restrict__ table,
                                        int heads, int entries) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < heads * entries) table[i] = bias[bucket[i % entries] * heads + i / entries];
}
