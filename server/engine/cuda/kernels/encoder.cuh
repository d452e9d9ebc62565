// What the encoder's kernels share: how activations and weights lie in device memory, and a few device helpers.
//
// The encoder runs over all T tokens of one prompt at once. Every matrix product computes out[n, t] = sum_k W[n, k] x[t, k]
// with the *weights* as the left operand of the matrix instruction (rows = output features) and the tokens as columns: the
// int8 weights then pass through registers, where they become fp16, and the activations go from shared memory straight
// into the tensor cores. Three layouts follow from the fragment of m16n8k16 (lane = 4 g + t):
//
// Weight units (int8). A matrix [N, K], N and K padded to 128, is re-laid once at load time by `encoder_relay` into units
// of 128 rows x 128 k: unit (nb, kb) at byte ((nb * K/128) + kb) * UNIT_BYTES. In a unit: 8 groups of 16 rows; a group is
// [4 pairs of k-steps][32 lanes][16 bytes], where a lane's 16 bytes are, for k-steps s = 2 pair and 2 pair + 1,
// {row g: k 2t, 2t+1; row g+8: k 2t, 2t+1; row g: k 2t+8, 2t+9; row g+8: k 2t+8, 2t+9} (k counted from 16 s). Behind the 16,384
// weights: 128 fp16 scales, one a row. One unit is one contiguous copy of 16,640 bytes.
//
// Operand tiles (fp16). An activation [T, K] that a product reads is [T/64][K/64] tiles of [64 tokens][64 k], 8 KB each; the
// 16-byte chunk c (of 8) of token row r lies at chunk position c ^ (r & 7). This is the 128-byte swizzle that wgmma reads
// and ldmatrix reads without bank conflicts, so a tile is copied to shared memory as it is. Tokens are padded to a
// multiple of 256 (TOKEN_PAD), K to 128; the padding holds finite values and never reaches a real token's result.
//
// Residual fragments (fp32). The residual stream [T, D] lies in accumulator order: [T/8][D/16][32 lanes][4 floats], the
// floats of a lane being (feature g, token 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1). A product's epilogue adds to it with
// whole 16-byte accesses, and the norm reads 8 tokens as one contiguous stretch.
//
// fp16 operands keep 11 bits where bf16 keeps 8. Their range is what T5 is known to exceed, in two places: the residual
// stream, which is fp32 here, and the input of `wo`, which is stored times 2^-6 (H_SCALE): exact, up to 4.19 million, and
// undone in wo's epilogue in fp32. Everything stored as fp16 is clamped to the finite range.
//
// Entry points (all extern "C"; launched by ../encoder.ts, which computes grids and shared memory):
//   encoder_load.cu       encoder_relay, encoder_bias
//   encoder_norm.cu       encoder_embed, encoder_{norm,final_norm}, on sm_90a also encoder_{norm,final_norm}_h
//   encoder_gemm.cu       encoder_{qkv,add,gated,act,cross}_{64,128}        portable, sm_80 and later
//   encoder_attention.cu  encoder_attention_{64,128,256}                    portable, sm_80 and later
//   encoder_hopper.cu     encoder_{qkv,add,gated,act,cross}_h{64,128,256}   sm_90a
//   encoder_attention_hopper.cu  encoder_attention_h{64,128,256}            sm_90a
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

namespace encoder {

constexpr int UNIT = 128;                              // rows and k of a weight unit
constexpr int UNIT_WEIGHTS = UNIT * UNIT;              // bytes of weights in a unit
constexpr int UNIT_BYTES = UNIT_WEIGHTS + UNIT * 2;    // and with the scales
constexpr int TILE = 64;                               // tokens and k of an operand tile
constexpr int TILE_HALFS = TILE * TILE;
constexpr float H_SCALE = 0.015625f;                   // 2^-6, on the input of wo

// Two numbers as fp16, clamped to its finite range.
__device__ __forceinline__ uint32_t pack(float a, float b) {
  uint32_t r;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
  return r;
}

// 2^x to about 2 units in the last place; 0 for very negative x.
__device__ __forceinline__ float fast_exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// Transposes an 8x8 matrix of fp16 across the warp: lane (g, t) gives row g, columns 2t and 2t+1.
__device__ __forceinline__ uint32_t transpose8(uint32_t v) {
  uint32_t r;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
  return r;
}

// w[i] of lane t holds part t of item i; afterwards lane t holds item t, parts in order.
__device__ __forceinline__ uint4 gather_quad(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3) {
  const int t = threadIdx.x & 3;
  // exchange with the neighbour: lanes 0/1 and 2/3
  uint32_t s0 = (t & 1) ? w0 : w1, s1 = (t & 1) ? w2 : w3;
  s0 = __shfl_xor_sync(0xffffffffu, s0, 1);
  s1 = __shfl_xor_sync(0xffffffffu, s1, 1);
  // a = item (t & 1), b = item 2 + (t & 1); each holds the parts of the two lanes of this pair
  uint32_t a0 = (t & 1) ? s0 : w0, a1 = (t & 1) ? w1 : s0;
  uint32_t b0 = (t & 1) ? s1 : w2, b1 = (t & 1) ? w3 : s1;
  uint32_t e0 = (t & 2) ? a0 : b0, e1 = (t & 2) ? a1 : b1;
  e0 = __shfl_xor_sync(0xffffffffu, e0, 2);
  e1 = __shfl_xor_sync(0xffffffffu, e1, 2);
  return (t & 2) ? make_uint4(e0, e1, b0, b1) : make_uint4(a0, a1, e0, e1);
}

// Where the chunk of 8 features k..k+7 (k a multiple of 8) of one token lies in operand tiles of `kTiles` tiles a row.
__device__ __forceinline__ size_t tile_chunk(int token, int k, int kTiles) {
  return ((size_t)(token >> 6) * kTiles + (k >> 6)) * TILE_HALFS + (token & 63) * TILE + ((((k >> 3) & 7) ^ (token & 7)) << 3);
}

}  // namespace encoder
