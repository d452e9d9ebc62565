// An encoder with random weights on the card, launched kernel by kernel as server/engine/cuda/encoder.ts does.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../../server/engine/cuda/kernels/encoder.cu"
#include "encoder_reference.cuh"

#define CK(call)                                                                                    \
  do {                                                                                              \
    cudaError_t status_ = (call);                                                                   \
    if (status_ != cudaSuccess) {                                                                   \
      printf("%s:%d %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(status_));             \
      exit(99);                                                                                     \
    }                                                                                               \
  } while (0)

static int up(int a, int b) { return (a + b - 1) / b * b; }
static unsigned grid_of(size_t n) { return (unsigned)((n + 255) / 256); }
static bool hopperCard = false;
static int multiprocessors = 0;

template <class T>
static T* device(size_t n, int poison = 0x77) {
  T* p;
  CK(cudaMalloc(&p, n * sizeof(T) + 16));
  CK(cudaMemset(p, poison, n * sizeof(T)));
  return p;
}

struct Matrix {
  uint8_t* w = nullptr;
  half* scales = nullptr;
  int N = 0, K = 0, Kp = 0;
};
struct Fused {
  uint8_t* units = nullptr;
  int rowTiles = 0, kUnits = 0;
};
struct Shape {
  const char* name;
  int D, F, heads, dKv, layers, decoderLayers;
  bool gated;
  int kind;
  float wiScale;  // how much larger than usual the feed-forward's inner values are
};
struct Layer {
  Matrix q, k, v, o, wi0, wi1, wo, ck, cv;
  Fused qkv, out, in, down, cross;
  float *g1, *g2;
};

static Matrix matrix(int N, int K, float deviation, uint32_t seed) {
  Matrix m;
  m.N = N;
  m.K = K;
  m.Kp = up(K, 128);
  m.w = device<uint8_t>((size_t)N * m.Kp);
  m.scales = device<half>((size_t)N * m.Kp / 128);
  reference::fill_matrix<<<1024, 256>>>(m.w, m.scales, N, K, m.Kp, deviation, seed);
  return m;
}
struct Part {
  const Matrix* m;
  int row0, spread;
};
static Fused fuse(int rows, const std::vector<Part>& parts) {
  Fused f;
  f.rowTiles = up(rows, 128) / 128;
  f.kUnits = parts[0].m->Kp / 128;
  f.units = device<uint8_t>((size_t)f.rowTiles * f.kUnits * encoder::UNIT_BYTES, 0x80);
  for (const Part& p : parts)
    encoder_relay<<<grid_of((size_t)p.m->N * p.m->Kp / 16), 256>>>(p.m->w, (const uint16_t*)p.m->scales, f.units, p.m->N, p.m->Kp, p.row0, p.spread);
  return f;
}

struct Timer {
  bool on = false;
  std::map<std::string, std::vector<std::pair<cudaEvent_t, cudaEvent_t>>> events;
};

struct Encoder {
  Shape s;
  int capacity, inner, dPad, groups, kD, kF, kI, tokenBlocks, maxDistance = 128, buckets = 32, vocab = 300, chunks;
  Matrix embedding;
  uint8_t* embeddingChunks;
  std::vector<Layer> layers;
  float *gFinal, *bias, *table;
  std::vector<float> biasHost;
  // work space
  float *x, *parts;  // parts of K of a cut product, up to 8
  long long partStride;
  int split = 1;  // of the last product that adds to x
  float addScale = 1;
  half *operand, *qkv, *attn, *h, *keys, *values;
  float* hidden;
  int* ids;
  bool hopper = false;
  int forceTile = 0, forceSplit = 0;
  Timer timer;

  Encoder(const Shape& shape, int capacity_) : s(shape), capacity(up(capacity_, 256)) {
    inner = s.heads * s.dKv;
    dPad = s.dKv <= 64 ? 64 : s.dKv <= 128 ? 128 : 256;
    kD = up(s.D, 128) / 64;
    kF = up(s.F, 128) / 64;
    kI = up(inner, 128) / 64;
    groups = up(s.D, 128) / 16;
    tokenBlocks = capacity / 64;
    uint32_t seed = 17;
    auto deviation = [](int k) { return 1.f / sqrtf((float)k); };
    embedding = matrix(vocab, s.D, 1.f, seed += 10);
    chunks = up(s.D, 256) / 256;
    embeddingChunks = device<uint8_t>((size_t)up(vocab, 16) / 16 * chunks * CHUNK_BYTES);
    reference::chunk_embedding<<<grid_of((size_t)vocab * chunks * 256), 256>>>(embedding.w, embedding.scales, embeddingChunks, vocab, embedding.Kp, chunks);
    auto vector = [&](int n, float center, float spread) {
      float* p = device<float>(n);
      reference::fill_float<<<grid_of(n), 256>>>(p, n, center, spread, seed += 10);
      return p;
    };
    for (int i = 0; i < std::max(s.layers, s.decoderLayers); i++) {
      Layer l{};
      if (i < s.layers) {
        l.q = matrix(inner, s.D, deviation(s.D * s.dKv) * 2, seed += 10);
        l.k = matrix(inner, s.D, deviation(s.D), seed += 10);
        l.v = matrix(inner, s.D, deviation(s.D), seed += 10);
        l.o = matrix(s.D, inner, deviation(inner), seed += 10);
        l.wi0 = matrix(s.F, s.D, deviation(s.D) * s.wiScale, seed += 10);
        if (s.gated) l.wi1 = matrix(s.F, s.D, deviation(s.D) * s.wiScale, seed += 10);
        l.wo = matrix(s.D, s.F, deviation(s.F), seed += 10);
        l.g1 = vector(s.D, 1.f, 0.3f);
        l.g2 = vector(s.D, 1.f, 0.3f);
        l.qkv = fuse(3 * inner, {{&l.q, 0, 0}, {&l.k, inner, 0}, {&l.v, 2 * inner, 0}});
        l.out = fuse(s.D, {{&l.o, 0, 0}});
        if (s.gated) l.in = fuse(2 * s.F, {{&l.wi0, 0, 1}, {&l.wi1, 0, 2}});
        else l.in = fuse(s.F, {{&l.wi0, 0, 0}});
        l.down = fuse(s.D, {{&l.wo, 0, 0}});
      }
      if (i < s.decoderLayers) {
        l.ck = matrix(inner, s.D, deviation(s.D), seed += 10);
        l.cv = matrix(inner, s.D, deviation(s.D), seed += 10);
        l.cross = fuse(2 * inner, {{&l.ck, 0, 0}, {&l.cv, inner, 0}});
      }
      layers.push_back(l);
    }
    gFinal = vector(s.D, 1.f, 0.3f);
    bias = vector(buckets * s.heads, 0.f, 3.f);
    biasHost.resize(buckets * s.heads);
    CK(cudaMemcpy(biasHost.data(), bias, biasHost.size() * 4, cudaMemcpyDeviceToHost));
    std::vector<float> t((size_t)s.heads * (2 * maxDistance + 1));
    for (int hd = 0; hd < s.heads; hd++)
      for (int d = -maxDistance; d <= maxDistance; d++) {
        const int half_ = buckets / 2, exact = half_ / 2, n = std::abs(d);
        int b = n;
        if (n >= exact) b = std::min(exact + (int)(logf((float)n / exact) / logf((float)maxDistance / exact) * (half_ - exact)), half_ - 1);
        t[(size_t)hd * (2 * maxDistance + 1) + d + maxDistance] = biasHost[(b + (d > 0 ? half_ : 0)) * s.heads + hd];
      }
    table = device<float>(t.size());
    CK(cudaMemcpy(table, t.data(), t.size() * 4, cudaMemcpyHostToDevice));
    x = device<float>((size_t)capacity * groups * 16);
    partStride = (long long)capacity * groups * 4;
    parts = device<float>((size_t)partStride * 4 * 8);
    operand = device<half>((size_t)capacity * kD * 64);
    qkv = device<half>((size_t)3 * s.heads * capacity * dPad, 0);
    attn = device<half>((size_t)capacity * kI * 64, 0);
    h = device<half>((size_t)capacity * kF * 64, 0);
    keys = device<half>((size_t)capacity * inner);
    values = device<half>((size_t)capacity * inner);
    hidden = device<float>((size_t)capacity * s.D);
    ids = device<int>(capacity);
    hopper = hopperCard;
    CK(cudaDeviceSynchronize());
  }

  void poison() {
    CK(cudaMemset(x, 0x77, (size_t)capacity * groups * 64));
    CK(cudaMemset(parts, 0x77, (size_t)partStride * 16 * 8));
    CK(cudaMemset(operand, 0x77, (size_t)capacity * kD * 128));
    CK(cudaMemset(attn, 0x77, (size_t)capacity * kI * 128));
    CK(cudaMemset(h, 0x77, (size_t)capacity * kF * 128));
    CK(cudaMemset(hidden, 0x77, (size_t)capacity * s.D * 4));
    if (dPad == s.dKv) CK(cudaMemset(qkv, 0x77, (size_t)3 * s.heads * capacity * dPad * 2));
    CK(cudaMemset(keys, 0x77, (size_t)capacity * inner * 2));
    CK(cudaMemset(values, 0x77, (size_t)capacity * inner * 2));
  }

  template <class F>
  void timed(const char* name, F f) {
    if (!timer.on) {
      f();
    } else {
      cudaEvent_t a, b;
      CK(cudaEventCreate(&a));
      CK(cudaEventCreate(&b));
      CK(cudaEventRecord(a));
      f();
      CK(cudaEventRecord(b));
      timer.events[name].push_back({a, b});
    }
    CK(cudaGetLastError());
  }

  // Tokens a tile and parts of K: the cheapest by ../../server/engine/cuda/encoder_tiles.ts's measure.
  struct Tiling {
    int tokens, split;
  };
  Tiling tiling(const Fused& f, int T, bool splits) const {
    Tiling best{0, 1};
    double least = 1e30;
    const int slots = hopper ? multiprocessors / 2 : multiprocessors;
    for (int nt : {64, 128, 256}) {
      if (!hopper && nt == 256) continue;
      if (forceTile && nt != forceTile) continue;
      for (int split : {1, 2, 3, 4, 6, 8}) {
        if (split > 1 && (!splits || split * 2 > f.kUnits || (!forceSplit && split * up(T, 256) > 2048))) continue;
        if (forceSplit && split != (splits && forceSplit * 2 <= f.kUnits ? forceSplit : 1)) continue;
        const int tiles = (hopper ? (f.rowTiles + 1) / 2 : f.rowTiles) * ((T + nt - 1) / nt) * split;
        const double cost = (double)((tiles + slots - 1) / slots) * ((f.kUnits + split - 1) / split + 4) * (nt + 73) +
                            (split > 1 ? (double)split * T * f.rowTiles * 128 * 8 / 13000 : 0);
        if (cost < least * 0.999) {
          least = cost;
          best = {nt, split};
        }
      }
    }
    return best;
  }
  template <class K, class H, class... A>
  void product(const char* name, K* const (&portable)[2], H* const (&hop)[3], const Fused& f, Tiling tile, const half* in, int T, A... args) {
    const int nt = tile.tokens, tokenTiles = (T + nt - 1) / nt;
    timed(name, [&] {
#ifdef HOPPER
      if (hopper) {
        auto* kernel = hop[nt == 64 ? 0 : nt == 128 ? 1 : 2];
        const int shared = nt == 64 ? ::hopper::Rings<64>::BYTES : nt == 128 ? ::hopper::Rings<128>::BYTES : ::hopper::Rings<256>::BYTES;
        CK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
        const int blocks = std::min(multiprocessors / 2 * 2, (f.rowTiles + 1) / 2 * 2 * tokenTiles * tile.split);
        kernel<<<blocks, 384, shared>>>(f.units, in, f.kUnits, f.rowTiles, tokenTiles, args...);
        return;
      }
#endif
      auto* kernel = portable[nt == 64 ? 0 : 1];
      const int stages = getenv("STAGES") ? atoi(getenv("STAGES")) : 2, shared = stages * (encoder::UNIT_BYTES + nt * 256);
      CK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
      kernel<<<dim3(tokenTiles, f.rowTiles, tile.split), 256, shared>>>(f.units, in, f.kUnits, stages, args...);
    });
  }
#ifdef HOPPER
#define PRODUCT(kind, name, ...)                                                                                   \
  product(name, {encoder_##kind##_64, encoder_##kind##_128}, {encoder_##kind##_h64, encoder_##kind##_h128, encoder_##kind##_h256}, __VA_ARGS__)
#else
#define PRODUCT(kind, name, ...) \
  product(name, {encoder_##kind##_64, encoder_##kind##_128}, {encoder_##kind##_64, encoder_##kind##_64, encoder_##kind##_64}, __VA_ARGS__)
#endif

  void embed(int T) {
    timed("embed", [&] { encoder_embed<<<up(T, 256) / 8, 512>>>(x, embeddingChunks, ids, T, groups, chunks); });
  }
  void norm(const float* gamma, int T) {
    timed("norm", [&] {
#ifdef HOPPER
      if (hopper && T <= 128) {
        encoder_norm_h<<<up(T, 64), 256>>>((float4*)x, (const float4*)parts, partStride, split, addScale, gamma, operand, s.D, 1e-6f);
        return;
      }
#endif
      encoder_norm<<<up(T, 64) / 8, 1024>>>((float4*)x, (const float4*)parts, partStride, split, addScale, gamma, operand, s.D, 1e-6f);
    });
    split = 1;
  }
  void project(const Layer& l, int T) { PRODUCT(qkv, "qkv", l.qkv, tiling(l.qkv, T, false), operand, T, qkv, inner, s.dKv, dPad / 64, tokenBlocks); }
  void attend(int T) {
    timed("attention", [&] {
#ifdef HOPPER
      if (hopper) {
        auto* kernel = dPad == 64 ? encoder_attention_h64 : dPad == 128 ? encoder_attention_h128 : encoder_attention_h256;
        const int shared = dPad == 64 ? attention_hopper::Layout<64>::BYTES : dPad == 128 ? attention_hopper::Layout<128>::BYTES : attention_hopper::Layout<256>::BYTES;
        CK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
        kernel<<<dim3((T + 127) / 128, s.heads), 384, shared>>>(qkv, table, attn, T, tokenBlocks, s.dKv, maxDistance, kI);
        return;
      }
#endif
      auto* kernel = dPad == 64 ? encoder_attention_64 : dPad == 128 ? encoder_attention_128 : encoder_attention_256;
      const int shared = 3 * 128 * dPad;
      CK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
      kernel<<<dim3((T + 63) / 64, s.heads), 128, shared>>>(qkv, table, attn, T, tokenBlocks, s.dKv, maxDistance, kI);
    });
  }
  void add(const char* name, const Fused& f, const half* in, int T, float scale) {
    const Tiling t = tiling(f, T, true);
    split = t.split;
    addScale = scale;
    PRODUCT(add, name, f, t, in, T, (float4*)x, (float4*)parts, partStride, groups, scale, split);
  }
  void output(const Layer& l, int T) { add("o", l.out, attn, T, 1.f); }
  void inward(const Layer& l, int T) {
    if (s.gated) PRODUCT(gated, "wi", l.in, tiling(l.in, T, false), operand, T, h, kF, s.kind);
    else PRODUCT(act, "wi", l.in, tiling(l.in, T, false), operand, T, h, kF, s.kind);
  }
  void down(const Layer& l, int T) { add("wo", l.down, h, T, 1.f / encoder::H_SCALE); }
  void last(int T) {
    timed("final norm", [&] {
#ifdef HOPPER
      if (hopper && T <= 128) {
        encoder_final_norm_h<<<up(T, 64), 256>>>((float4*)x, (const float4*)parts, partStride, split, addScale, gFinal, operand, s.D, 1e-6f, hidden, T);
        return;
      }
#endif
      encoder_final_norm<<<up(T, 64) / 8, 1024>>>((float4*)x, (const float4*)parts, partStride, split, addScale, gFinal, operand, s.D, 1e-6f, hidden, T);
    });
    split = 1;
  }
  void crossed(const Layer& l, int T) { PRODUCT(cross, "cross", l.cross, tiling(l.cross, T, false), operand, T, keys, values, inner, T); }

  void encode(int T) {
    embed(T);
    for (int i = 0; i < s.layers; i++) {
      const Layer& l = layers[i];
      norm(l.g1, T);
      project(l, T);
      attend(T);
      output(l, T);
      norm(l.g2, T);
      inward(l, T);
      down(l, T);
    }
    last(T);
    for (int i = 0; i < s.decoderLayers; i++) crossed(layers[i], T);
  }
};
