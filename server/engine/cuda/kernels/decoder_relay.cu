// Re-lays one matrix of a weight file into chunks (common.cuh), once, while loading.
//
// In the file a matrix [n, k] is rows of U8, paddedK long (value = q + 128), and its scales are F16 [n, paddedK / 128]. A
// thread moves 8 weights of one row, and the scale where its weights start a block of 128. The destination was filled
// with 128s before: what no thread writes multiplies to zero.
//
// Rows move where heads are padded (dKv rounded up to 64, 128 or 256): row i goes to (i / dKv) * padded + i % dKv. Rows of a
// gated product interleave: 8 of wi_0 and 8 of wi_1 make a tile (`half8` 0 and 1; -1: plain rows).
#include "common.cuh"

extern "C" __global__ void decoder_relay(const uint8_t* weights, const half* scales, uint8_t* out, int n, int k, int paddedK,
                                         int chunks, int firstRow, int half8, int rowHead, int rowHeadPadded) {
  const int groups = paddedK / 8;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (size_t)n * groups; i += (size_t)gridDim.x * blockDim.x) {
    const int row = (int)(i / groups), column = (int)(i % groups) * 8;
    if (column >= k) continue;  // padding of the file
    int toRow = firstRow + row / rowHead * rowHeadPadded + row % rowHead;
    if (half8 >= 0) toRow = row / 8 * TILE_ROWS + half8 * 8 + row % 8;
    const int tile = toRow / TILE_ROWS, r = toRow % TILE_ROWS, in = column % CHUNK_K;
    uint8_t* chunk = out + ((size_t)tile * chunks + column / CHUNK_K) * CHUNK_BYTES;
    uint8_t* place = chunk + (in / 64) * 1024 + (r / 8) * 512 + ((r % 8) * 4 + (in % 64) / 16) * 16 + in % 16;
    *reinterpret_cast<uint2*>(place) = *reinterpret_cast<const uint2*>(weights + (size_t)row * paddedK + column);
    if (column % 128 == 0)
      *reinterpret_cast<half*>(chunk + CHUNK_WEIGHTS + (r % 8) * 8 + ((in / 128) * 2 + r / 8) * 2) =
          scales[(size_t)row * (paddedK / 128) + column / 128];
  }
}

// A norm's weights, F32 in the file, as fp16 padded with zeros to `padded`.
extern "C" __global__ void decoder_relay_norm(const float* weights, half* out, int n, int padded) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < padded; i += gridDim.x * blockDim.x)
    out[i] = __float2half(i < n ? fminf(fmaxf(weights[i], -65504.f), 65504.f) : 0.f);
}

// The relative bias, F32 [buckets, heads] in the file, as a table by distance: out[h][i] = bias[bucketOf[i]][h].
extern "C" __global__ void decoder_relay_bias(const float* bias, const int* bucketOf, float* out, int heads, int entries) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < heads * entries; i += gridDim.x * blockDim.x)
    out[i] = bias[bucketOf[i % entries] * heads + i / entries];
}
