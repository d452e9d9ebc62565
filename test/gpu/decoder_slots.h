// Where the arrays of an exchange slot lie (kernels/decoder_exchange.cuh), for the test programs: as ../../server/engine/cuda/decoder_shapes.ts has it.
#pragma once
#include <algorithm>

#include "../../server/engine/cuda/kernels/decoder.cuh"

// Sets the addresses of `p` from `base` on, and returns the bytes of all three slots. For steps of `blocks` blocks.
inline size_t place_slots(StepParams& p, uint64_t base, int blocks) {
  const size_t inner = (size_t)p.heads * p.headWidth, ip = (inner + 255) / 256 * 256;
  const size_t dp = p.matrices[WI].chunks * 256, fp = p.matrices[WO].chunks * 256, jp = p.matrices[O].chunks * 256;
  size_t at = 0;
  const auto take = [&](uint64_t& address, size_t arrays, size_t width, size_t bytes) {
    address = base + at;
    at += (arrays * MAX_COLUMNS * width * bytes + 255) / 256 * 256;
  };
  take(p.x, 3, dp, 4), take(p.normed, 3, dp, 2), take(p.normedPowers, 3, dp / 8, 1), take(p.squares, 3, p.gridPad, 4);
  take(p.q, 1, ip, 4), take(p.fresh, 2, ip, 2), take(p.attended, 2, jp, 2), take(p.crossPieces, std::max(blocks, p.heads), p.headWidth + 4, 4), take(p.xqueries, 1, ip, 2);
  take(p.hidden, 1, fp, 2), take(p.exponents, 1, fp / 8, 1);
  p.slotBytes = at;
  return 3 * at;
}
