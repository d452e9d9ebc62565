// Packs the cross-attention keys and values of one layer into the A fragments that decoder_step multiplies, once a prompt.
//
// In: fp16 [tokens, heads * dKv] each, row-major. Out: [heads][slots][CROSS_BYTES]. A slot holds 4096 / width keys of one
// head (width: dKv padded to 64, 128 or 256), in tiles of 16 keys. First the keys: for each tile and each 16 dimensions,
// [32 lanes][16 bytes], lane 4 g + t: of keys g and g + 8 the dimensions d, d+1 (both keys), then d+2, d+3 (both), where
// d = 64 (i / 4) + 16 t + 4 (i % 4) for the tile's i-th 16 dimensions: the order in which a lane holds the queries. Then the
// values, transposed: for the i-th 16 dimensions, of dimensions 16 i + g and 16 i + g + 8 the keys 2t, 2t+1 (both
// dimensions), then 2t+8, 2t+9 (both). Keys beyond `tokens` and dimensions beyond dKv are zero.
#include "decoder.cuh"

extern "C" __global__ void decoder_pack_cross(const half* keys, const half* values, uint8_t* out, int tokens, int heads, int dKv,
                                              int width, int slots) {
  const int perTile = width / 16, inner = heads * dKv;
  const size_t total = (size_t)heads * slots * (CROSS_BYTES / 16);
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += (size_t)gridDim.x * blockDim.x) {
    const int in = (int)(i % (CROSS_BYTES / 16)), slot = (int)(i / (CROSS_BYTES / 16)) % slots;
    const int head = (int)(i / (CROSS_BYTES / 16)) / slots;
    const int lane = in % 32, g = lane >> 2, t = lane & 3;
    const bool isValue = in >= CROSS_BYTES / 32;
    const int piece = (in % (CROSS_BYTES / 32)) / 32, tile = piece / perTile, step = piece % perTile;
    const int firstKey = slot * (4096 / width) + tile * 16;
    const half* from = isValue ? values : keys;
    const auto get = [&](int key, int dim) {
      return firstKey + key < tokens && dim < dKv ? from[(size_t)(firstKey + key) * inner + head * dKv + dim] : __float2half(0.f);
    };
    half h[8];
    if (isValue) {
      const int dim = step * 16 + g;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int key = 2 * t + (j / 2) * 8, d = dim + (j % 2) * 8;
        h[2 * j] = get(key, d), h[2 * j + 1] = get(key + 1, d);
      }
    } else {
      const int dim = (step / 4) * 64 + t * 16 + (step % 4) * 4;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int key = g + (j % 2) * 8, d = dim + (j / 2) * 2;
        h[2 * j] = get(key, d), h[2 * j + 1] = get(key, d + 1);
      }
    }
    reinterpret_cast<uint4*>(out)[i] = *reinterpret_cast<const uint4*>(h);
  }
}
