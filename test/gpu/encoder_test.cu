// Checks and times the encoder's kernels on a card, without the engine around them.
//
//   nvcc -O3 -DHOPPER -gencode arch=compute_90a,code=sm_90a -o encoder_test test/gpu/encoder_test.cu   (H100, H200)
//   nvcc -O3 -arch=native -o encoder_test test/gpu/encoder_test.cu                                      (other cards)
//   encoder_test check          every kernel on the output of the one before, and whole encoders, against plain references
//   encoder_test small          the same at small sizes only (for compute-sanitizer)
//   encoder_test time T...      Flan-UL2's shapes at T tokens: whole encoder and each kernel (PORTABLE=1: the portable
//                               kernels too; TILES=1: every tile size; STAGES=3: a deeper ring of the portable products)
//
// Outputs are poisoned before every run (finite, since padding may be read). The exit code counts failures.
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
static int failures = 0;
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

struct Rows {
  Encoder& e;
  int T;
  std::vector<void*> owned;
  Rows(Encoder& e_, int T_) : e(e_), T(T_) {}
  ~Rows() {
    for (void* p : owned) cudaFree(p);
  }
  float* fresh(size_t n) {
    float* p = device<float>(n);
    owned.push_back(p);
    return p;
  }
  float* residual() {
    float* o = fresh((size_t)T * e.s.D);
    reference::rows_of_fragments<<<grid_of((size_t)T * e.s.D), 256>>>(e.x, o, T, e.s.D, e.groups);
    return o;
  }
  float* tiles(const half* t, int K, float scale = 1.f) {
    float* o = fresh((size_t)T * K);
    reference::rows_of_tiles<<<grid_of((size_t)T * K), 256>>>(t, o, T, K, up(K, 128) / 64, scale);
    return o;
  }
  float* heads() {
    float* o = fresh((size_t)T * 3 * e.inner);
    reference::rows_of_heads<<<grid_of((size_t)T * 3 * e.inner), 256>>>(e.qkv, o, T, e.s.heads, e.s.dKv, e.dPad / 64, e.tokenBlocks);
    return o;
  }
  float* halfs(const half* a, size_t n) {
    float* o = fresh(n);
    reference::rows_of_halfs<<<grid_of(n), 256>>>(a, o, n);
    return o;
  }
  // [T, N] from [T, K]
  void multiply(const Matrix& m, const float* x, float* out, bool add = false) {
    reference::product<<<dim3((m.N + 63) / 64, (T + 63) / 64), 256>>>(m.w, m.scales, x, out, T, m.N, m.K, m.Kp, add, 1.f);
  }
  // several matrices side by side: [T, sum N]
  float* multiply(const std::vector<const Matrix*>& ms, const float* x) {
    int total = 0, at = 0;
    for (auto* m : ms) total += m->N;
    float* out = fresh((size_t)T * total);
    for (auto* m : ms) {
      float* part = fresh((size_t)T * m->N);
      multiply(*m, x, part);
      CK(cudaMemcpy2D(out + at, total * 4ull, part, m->N * 4ull, m->N * 4ull, T, cudaMemcpyDeviceToDevice));
      at += m->N;
    }
    return out;
  }
  float* norm(const float* x, const float* gamma) {
    float* o = fresh((size_t)T * e.s.D);
    reference::norm<<<T, 256>>>(x, gamma, o, e.s.D, 1e-6f);
    return o;
  }
  float* attention(const float* qkv) {
    float* o = fresh((size_t)T * e.inner);
    reference::attention<<<dim3(T, e.s.heads), 128, up(T, 64) * 4>>>(qkv, e.bias, o, T, e.s.heads, e.s.dKv, e.buckets, e.maxDistance);
    return o;
  }
  float* activate(const float* wi) {
    float* o = fresh((size_t)T * e.s.F);
    reference::activate<<<grid_of((size_t)T * e.s.F), 256>>>(wi, o, T, e.s.F, e.s.gated, e.s.kind);
    return o;
  }
  float* copy(const float* a, size_t n) {
    float* o = fresh(n);
    CK(cudaMemcpy(o, a, n * 4, cudaMemcpyDeviceToDevice));
    return o;
  }
  double error(const float* a, const float* b, size_t n) {
    double* sums = (double*)fresh(8);
    CK(cudaMemset(sums, 0, 24));
    reference::compare<<<256, 256>>>(a, b, n, sums);
    double v[3];
    CK(cudaMemcpy(v, sums, 24, cudaMemcpyDeviceToHost));
    return v[2] > 0 || !(v[1] > 0) ? NAN : sqrt(v[0] / v[1]);
  }
  float largest(const float* a, size_t n) {
    unsigned* bits = (unsigned*)fresh(4);
    CK(cudaMemset(bits, 0, 4));
    reference::largest<<<256, 256>>>(a, n, bits);
    float v;
    CK(cudaMemcpy(&v, bits, 4, cudaMemcpyDeviceToHost));
    return v;
  }
};

struct Line {
  std::string text;
  bool ok = true;
  void add(const char* name, double error, double limit) {
    char b[64];
    const bool good = error <= limit;  // false for NaN
    snprintf(b, sizeof b, " %s %.1e%s", name, error, good ? "" : " FAILED");
    text += b;
    if (!good) ok = false;
  }
  void print(const char* what) {
    printf("%s:%s\n", what, text.c_str());
    fflush(stdout);
    if (!ok) failures++;
  }
};

static void random_ids(Encoder& e, int T) {
  std::vector<int> ids(e.capacity, 0);
  for (int i = 0; i < T; i++) ids[i] = rand() % e.vocab;
  CK(cudaMemcpy(e.ids, ids.data(), ids.size() * 4, cudaMemcpyHostToDevice));
}

// Every kernel of one layer on the output of the kernel before it.
static void check_kernels(Encoder& e, int T, const char* label) {
  random_ids(e, T);
  e.poison();
  Rows r(e, T);
  Line line;
  const Layer& l = e.layers[0];
  const size_t TD = (size_t)T * e.s.D, TI = (size_t)T * e.inner;
  e.embed(T);
  float* x = r.residual();
  float* want = r.fresh(TD);
  reference::embed<<<grid_of(TD), 256>>>(e.embedding.w, e.embedding.scales, e.ids, want, T, e.s.D, e.embedding.Kp);
  line.add("embed", r.error(x, want, TD), 1e-7);
  e.norm(l.g1, T);
  float* n = r.tiles(e.operand, e.s.D);
  line.add("norm", r.error(n, r.norm(x, l.g1), TD), 4e-4);
  e.project(l, T);
  float* qkv = r.heads();
  line.add("qkv", r.error(qkv, r.multiply({&l.q, &l.k, &l.v}, n), 3 * TI), 5e-4);
  e.attend(T);
  float* a = r.tiles(e.attn, e.inner);
  line.add("attention", r.error(a, r.attention(qkv), TI), 6e-4);
  e.output(l, T);
  e.norm(l.g2, T);  // which settles a cut product
  float* x2 = r.residual();
  want = r.copy(x, TD);
  r.multiply(l.o, a, want, true);
  line.add("o", r.error(x2, want, TD), 3e-4);
  n = r.tiles(e.operand, e.s.D);
  line.add("norm", r.error(n, r.norm(x2, l.g2), TD), 4e-4);
  e.inward(l, T);
  float* h = r.tiles(e.h, e.s.F, 1.f / encoder::H_SCALE);
  float* wi = e.s.gated ? r.multiply({&l.wi0, &l.wi1}, n) : r.multiply({&l.wi0}, n);
  line.add("wi", r.error(h, r.activate(wi), (size_t)T * e.s.F), 8e-4);
  e.down(l, T);
  e.last(T);
  float* x3 = r.residual();
  want = r.copy(x2, TD);
  r.multiply(l.wo, h, want, true);
  line.add("wo", r.error(x3, want, TD), 5e-4);
  line.add("final", r.error(e.hidden, r.norm(x3, e.gFinal), TD), 1e-6);
  n = r.tiles(e.operand, e.s.D);
  e.crossed(l, T);
  float* kv = r.multiply({&l.ck, &l.cv}, n);
  float* got = r.fresh(2 * TI);
  float* keys = r.halfs(e.keys, TI);
  float* values = r.halfs(e.values, TI);
  CK(cudaMemcpy2D(got, e.inner * 8ull, keys, e.inner * 4ull, e.inner * 4ull, T, cudaMemcpyDeviceToDevice));
  CK(cudaMemcpy2D(got + e.inner, e.inner * 8ull, values, e.inner * 4ull, e.inner * 4ull, T, cudaMemcpyDeviceToDevice));
  line.add("cross", r.error(got, kv, 2 * TI), 5e-4);
  CK(cudaDeviceSynchronize());
  char what[128];
  snprintf(what, sizeof what, "%s T=%d", label, T);
  line.print(what);
}

// The whole encoder against a reference that shares nothing with it but the weights.
static void check_whole(Encoder& e, int T, const char* label, double limit) {
  random_ids(e, T);
  e.poison();
  Rows all(e, T);
  e.encode(T);
  CK(cudaDeviceSynchronize());
  const size_t TD = (size_t)T * e.s.D;
  float* x = all.fresh(TD);
  reference::embed<<<grid_of(TD), 256>>>(e.embedding.w, e.embedding.scales, e.ids, x, T, e.s.D, e.embedding.Kp);
  float peakX = 0, peakH = 0;
  for (int i = 0; i < e.s.layers; i++) {
    Rows r(e, T);
    const Layer& l = e.layers[i];
    float* a = r.attention(r.multiply({&l.q, &l.k, &l.v}, r.norm(x, l.g1)));
    r.multiply(l.o, a, x, true);
    float* n = r.norm(x, l.g2);
    float* h = r.activate(e.s.gated ? r.multiply({&l.wi0, &l.wi1}, n) : r.multiply({&l.wi0}, n));
    peakH = std::max(peakH, r.largest(h, (size_t)T * e.s.F));
    r.multiply(l.wo, h, x, true);
    peakX = std::max(peakX, r.largest(x, TD));
    CK(cudaDeviceSynchronize());
  }
  Line line;
  line.add("hidden", all.error(e.hidden, all.norm(x, e.gFinal), TD), limit);
  char what[160];
  snprintf(what, sizeof what, "%s whole, T=%d, %d layers, largest residual %.3g, largest wo input %.3g", label, T, e.s.layers, peakX, peakH);
  line.print(what);
}

static void time_encoder(Encoder& e, int T) {
  random_ids(e, T);
  cudaEvent_t a, b;
  CK(cudaEventCreate(&a));
  CK(cudaEventCreate(&b));
  std::vector<float> times;
  for (int i = 0; i < 13; i++) {
    CK(cudaEventRecord(a));
    e.encode(T);
    CK(cudaEventRecord(b));
    CK(cudaEventSynchronize(b));
    float ms;
    CK(cudaEventElapsedTime(&ms, a, b));
    if (i >= 3) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  const double weights = e.s.layers * (4.0 * e.inner * e.s.D + (e.s.gated ? 3.0 : 2.0) * e.s.D * e.s.F) + e.s.decoderLayers * 2.0 * e.inner * e.s.D;
  printf("%s %s T=%d: median %.2f ms (min %.2f, max %.2f), products alone would need %.0f TFLOP/s\n", e.s.name, e.hopper ? "hopper" : "portable", T,
         times[5], times[0], times[9], 2 * T * weights / times[5] / 1e9);
  e.timer.on = true;
  e.timer.events.clear();
  for (int i = 0; i < 2; i++) {
    e.timer.events.clear();
    e.encode(T);
    CK(cudaDeviceSynchronize());
  }
  e.timer.on = false;
  const double rate[] = {2.0 * T * 3 * e.inner * e.s.D, 2.0 * T * e.inner * e.s.D, 2.0 * T * (e.s.gated ? 2 : 1) * e.s.F * e.s.D, 2.0 * T * e.s.F * e.s.D, 4.0 * T * e.inner * e.s.D, 4.0 * T * T * e.inner};
  const char* names[] = {"qkv", "o", "wi", "wo", "cross", "attention"};
  double total = 0;
  for (auto& [name, pairs] : e.timer.events) {
    double ms = 0;
    for (auto& p : pairs) {
      float m;
      CK(cudaEventElapsedTime(&m, p.first, p.second));
      ms += m;
      cudaEventDestroy(p.first);
      cudaEventDestroy(p.second);
    }
    total += ms;
    double flops = 0;
    for (int i = 0; i < 6; i++)
      if (name == names[i]) flops = rate[i];
    printf("  %-10s %3zu x %8.1f us = %7.2f ms", name.c_str(), pairs.size(), ms / pairs.size() * 1e3, ms);
    if (flops > 0) printf("  %4.0f TFLOP/s", flops / (ms / pairs.size()) / 1e9);
    printf("\n");
  }
  printf("  sum %.2f ms\n", total);
  fflush(stdout);
}

int main(int argc, char** argv) {
  cudaDeviceProp p;
  CK(cudaGetDeviceProperties(&p, 0));
  multiprocessors = p.multiProcessorCount;
#ifdef HOPPER
  hopperCard = p.major == 9 && p.minor == 0;
#endif
  const std::string mode = argc > 1 ? argv[1] : "check";
  printf("%s, %d multiprocessors, %s\n", p.name, multiprocessors, mode.c_str());
  // name, D, F, heads, dKv, layers, decoder layers, gated, activation (0 relu, 1 gelu_new, 2 silu), wi scale
  const Shape odd[] = {{"starter", 384, 1024, 6, 64, 6, 4, true, 2, 1}, {"odd", 200, 72, 3, 40, 2, 2, true, 1, 1}, {"t5", 512, 2048, 8, 64, 2, 1, false, 0, 1},
                       {"wide heads", 320, 648, 2, 256, 2, 1, true, 2, 300}, {"heads of 128", 256, 136, 5, 128, 2, 1, true, 1, 1}, {"one tile", 128, 64, 2, 16, 1, 1, false, 1, 1},
                       {"very wide", 4616, 264, 2, 64, 1, 1, true, 2, 1}};
  const Shape ul2{"flan-ul2", 4096, 16384, 16, 256, 32, 32, true, 2, 1};
  if (mode == "small" || mode == "check") {
    const std::vector<int> sizes = mode == "small" ? std::vector<int>{1, 18, 129} : std::vector<int>{1, 2, 17, 63, 129, 300, 511, 1000};
    for (const Shape& s : odd) {
      Encoder e(s, sizes.back());
      for (int h = hopperCard ? 1 : 0; h >= 0; h--) {
        e.hopper = h;
        for (int T : sizes)
          for (int tile : h ? std::vector<int>{64, 128, 256} : std::vector<int>{64, 128}) {
            if (mode == "check" && tile != 128 && T % 2 == 0) continue;
            e.forceTile = tile;
            e.forceSplit = T % 3 ? 1 : T % 2 ? 3 : 4;
            const std::string label = std::string(s.name) + (h ? " hopper " : " portable ") + std::to_string(tile);
            check_kernels(e, T, label.c_str());
          }
        e.forceTile = e.forceSplit = 0;
        check_whole(e, sizes.back(), (std::string(s.name) + (h ? " hopper" : " portable")).c_str(), 3e-3);
      }
    }
  }
  if (mode == "check") {
    Shape s = ul2;
    s.layers = 1;
    s.decoderLayers = 1;
    Encoder e(s, 4096);
    for (int h = hopperCard ? 1 : 0; h >= 0; h--) {
      e.hopper = h;
      for (int T : {1, 63, 511, 2048, 4096}) check_kernels(e, T, h ? "flan-ul2 hopper" : "flan-ul2 portable");
    }
    s.layers = 8;
    s.wiScale = 200;
    Encoder big(s, 512);
    for (int h = hopperCard ? 1 : 0; h >= 0; h--) {
      big.hopper = h;
      check_whole(big, 509, h ? "large values, hopper" : "large values, portable", 3e-3);
    }
  }
  if (mode == "time") {
    std::vector<int> sizes;
    for (int i = 2; i < argc; i++) sizes.push_back(atoi(argv[i]));
    Encoder e(ul2, *std::max_element(sizes.begin(), sizes.end()));
    for (int h = hopperCard ? 1 : 0; h >= (getenv("PORTABLE") || !hopperCard ? 0 : 1); h--) {
      e.hopper = h;
      for (int T : sizes) {
        if (getenv("TILES") && h)
          for (int tile : {64, 128, 256}) {
            e.forceTile = tile;
            printf("tile %d: ", tile);
            time_encoder(e, T);
          }
        e.forceTile = 0;
        time_encoder(e, T);
        if (getenv("WHOLE")) {
          e.forceSplit = 1;
          printf("uncut: ");
          time_encoder(e, T);
          e.forceSplit = 0;
        }
      }
    }
  }
  printf("%d failures\n", failures);
  return failures ? 1 : 0;
}
