// Checks and times the decoder's kernels on a card, without the engine around them.
//
//   nvcc -std=c++17 -O3 -arch=sm_90 -o decoder_test test/gpu/decoder_test.cu     (add -DFLAN_CP_ASYNC for the older path)
//   decoder_test check           small models of every form against a float64 reference, and columns against each other
//   decoder_test small           two of them, few steps (for compute-sanitizer)
//   decoder_test big [layers]    Flan-UL2's shapes against the reference
//   decoder_test time S...       Flan-UL2's step at S source tokens, next to the copy speed of the same card
//
// Outputs are poisoned before every step. The exit code is the number of failures.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../server/engine/cuda/kernels/decoder.cu"
#include "decoder_reference.cuh"
#include "decoder_slots.h"

#define CK(call)                                                                        \
  do {                                                                                  \
    cudaError_t status_ = (call);                                                       \
    if (status_ != cudaSuccess) {                                                       \
      printf("%s:%d %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(status_)); \
      exit(99);                                                                         \
    }                                                                                   \
  } while (0)

static int failures = 0, late = 48, lateOfSeveral = 64, G = 0, sharedLimit = 0, inFlight = 3, inFlightOfSeveral = 2, ahead = 16, aheadOfSeveral = 0, pace = 3000;
static int up(int a, int b) { return (a + b - 1) / b * b; }
static int div_up(int a, int b) { return (a + b - 1) / b; }
template <class T>
static T* device(size_t n, int fill) {
  T* p;
  CK(cudaMalloc(&p, n * sizeof(T) + 256));
  CK(cudaMemset(p, fill, n * sizeof(T)));
  return p;
}

__device__ uint32_t mix(uint64_t i) {
  uint32_t x = (uint32_t)(i * 2654435761u) ^ (uint32_t)(i >> 17);
  x ^= x >> 15, x *= 2246822519u, x ^= x >> 13, x *= 3266489917u;
  return x ^ (x >> 16);
}
__global__ void random_weights(uint8_t* w, half* scales, int N, int K, int Kp, uint32_t seed, float scale) {
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (size_t)N * Kp; i += (size_t)gridDim.x * blockDim.x) {
    w[i] = (int)(i % Kp) < K ? 1 + mix(i + seed * 7919ull) % 255 : 128;
    if (i % 128 == 0) scales[i / 128] = __float2half(scale * (.5f + (mix(i + seed * 104729ull) & 255) / 256.f));
  }
}
__global__ void random_halves(half* p, size_t n, uint32_t seed, float scale) {
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
    p[i] = __float2half(scale * ((mix(i + seed * 7919ull) & 4095) / 2048.f - 1.f));
}

struct Form {
  const char* name;
  int D, F, heads, dKv, layers, vocab;
  int activation;
  bool gated, biasEvery;
  float hidden;  // how much larger than usual the input of wo is
};

struct Plain {
  uint8_t* w;
  half* scales;
  int N, K, Kp;
};

struct Model {
  Form f;
  int W, I, Dp;
  bool keepPlain;
  StepParams p{};
  std::vector<std::vector<Plain>> plain;  // [layer][q k v o xq xo wi0 wi1 wo]
  Plain embedding;
  std::vector<std::vector<float*>> norms;
  float* finalNorm;
  float* bias;
  std::vector<void*> owned;
  size_t weightBytes = 0;
  int slot = 0, dirty = 0;
  uint32_t seed = 1;

  template <class T>
  T* own(size_t n, int fill) {
    T* q = device<T>(n, fill);
    owned.push_back(q);
    return q;
  }

  Matrix shape(int rows, int K) {
    Matrix m{};
    m.tiles = div_up(rows, 16), m.chunks = div_up(K, 256), m.parts = div_up(m.chunks, 16), m.unit = div_up(m.chunks, m.parts);
    m.group = m.parts > 1 ? 1 : std::max(1, std::min(m.tiles / G, 16 / m.unit));
    return m;
  }
  size_t bytes(const Matrix& m) { return (size_t)m.tiles * m.chunks * CHUNK_BYTES; }

  Plain random(int N, int K, float c) {
    Plain m{nullptr, nullptr, N, K, up(K, 128)};
    m.w = device<uint8_t>((size_t)N * m.Kp, 128);
    m.scales = device<half>((size_t)N * m.Kp / 128, 0);
    random_weights<<<1024, 256>>>(m.w, m.scales, N, K, m.Kp, seed += 13, c / (73.f * sqrtf(K)));
    CK(cudaGetLastError());
    return m;
  }
  Plain place(Plain m, uint8_t* to, int chunks, int firstRow, int half8, int rh, int rhp) {
    decoder_relay<<<1024, 256>>>(m.w, m.scales, to, m.N, m.K, m.Kp, chunks, firstRow, half8, rh, rhp);
    CK(cudaGetLastError());
    if (!keepPlain) {
      CK(cudaDeviceSynchronize());
      cudaFree(m.w), cudaFree(m.scales);
      m.w = nullptr;
    } else owned.push_back(m.w), owned.push_back(m.scales);
    return m;
  }

  Model(Form form, bool keep) : f(form), keepPlain(keep) {
    W = f.dKv <= 64 ? 64 : f.dKv <= 128 ? 128 : 256;
    I = f.heads * W, Dp = up(f.D, 256);
    p.matrices[QKV] = shape(3 * I, f.D), p.matrices[O] = shape(f.D, f.heads * f.dKv), p.matrices[XQ] = shape(I, f.D), p.matrices[XO] = shape(f.D, f.heads * f.dKv);
    p.matrices[WI] = shape(f.gated ? up(f.F, 8) * 2 : f.F, f.D), p.matrices[WO] = shape(f.D, f.F), p.matrices[HEAD] = shape(f.vocab, f.D);
    p.matrices[O].group = p.matrices[XO].group = p.matrices[WO].group = std::min({p.matrices[O].group, p.matrices[XO].group, p.matrices[WO].group});
    Matrix* all[6] = {&p.matrices[QKV], &p.matrices[O], &p.matrices[XQ], &p.matrices[XO], &p.matrices[WI], &p.matrices[WO]};
    size_t stride = 0;
    for (auto m : all) m->weights = stride, stride += bytes(*m);
    p.layerStride = stride;
    weightBytes = stride * f.layers + bytes(p.matrices[HEAD]);
    uint8_t* base = own<uint8_t>(stride * f.layers, 128);
    uint8_t* table = own<uint8_t>(bytes(p.matrices[HEAD]), 128);
    for (auto m : all) m->weights += (uint64_t)base;
    p.matrices[HEAD].weights = p.embedding = (uint64_t)table;
    const int inner = f.heads * f.dKv;
    half* norms16 = own<half>((size_t)(f.layers * 3 + 1) * Dp, 0);
    auto norm = [&](half* to) {
      std::vector<float> g(f.D);
      for (auto& v : g) v = 0.5f + (rand() % 1000) / 1000.f;
      float* d = own<float>(f.D, 0);
      CK(cudaMemcpy(d, g.data(), f.D * 4, cudaMemcpyHostToDevice));
      decoder_relay_norm<<<8, 256>>>(d, to, f.D, Dp);
      return d;
    };
    for (int l = 0; l < f.layers; l++) {
      auto to = [&](Matrix& m) { return (uint8_t*)m.weights + l * stride; };
      std::vector<Plain> v;
      const float qc = 2.f / sqrtf(f.dKv);
      v.push_back(place(random(inner, f.D, qc), to(p.matrices[QKV]), p.matrices[QKV].chunks, 0, -1, f.dKv, W));
      v.push_back(place(random(inner, f.D, 1), to(p.matrices[QKV]), p.matrices[QKV].chunks, I, -1, f.dKv, W));
      v.push_back(place(random(inner, f.D, 1), to(p.matrices[QKV]), p.matrices[QKV].chunks, 2 * I, -1, f.dKv, W));
      v.push_back(place(random(f.D, inner, 1), to(p.matrices[O]), p.matrices[O].chunks, 0, -1, f.D, f.D));
      v.push_back(place(random(inner, f.D, qc), to(p.matrices[XQ]), p.matrices[XQ].chunks, 0, -1, f.dKv, W));
      v.push_back(place(random(f.D, inner, 1), to(p.matrices[XO]), p.matrices[XO].chunks, 0, -1, f.D, f.D));
      if (f.gated) {
        v.push_back(place(random(f.F, f.D, 1), to(p.matrices[WI]), p.matrices[WI].chunks, 0, 0, f.F, f.F));
        v.push_back(place(random(f.F, f.D, f.hidden), to(p.matrices[WI]), p.matrices[WI].chunks, 0, 1, f.F, f.F));
      } else {
        v.push_back(place(random(f.F, f.D, f.hidden), to(p.matrices[WI]), p.matrices[WI].chunks, 0, -1, f.F, f.F));
        v.push_back(Plain{});
      }
      v.push_back(place(random(f.D, f.F, 1 / f.hidden), to(p.matrices[WO]), p.matrices[WO].chunks, 0, -1, f.D, f.D));
      plain.push_back(v);
      norms.push_back({norm(norms16 + (size_t)(l * 3) * Dp), norm(norms16 + (size_t)(l * 3 + 1) * Dp), norm(norms16 + (size_t)(l * 3 + 2) * Dp)});
    }
    embedding = place(random(f.vocab, f.D, sqrtf(f.D)), table, p.matrices[HEAD].chunks, 0, -1, f.vocab, f.vocab);
    finalNorm = norm(norms16 + (size_t)f.layers * 3 * Dp);
    p.norms = (uint64_t)norms16;
    p.maxDistance = 128, p.biasStride = f.biasEvery ? f.heads * 129 : 0;
    std::vector<float> b((size_t)(f.biasEvery ? f.layers : 1) * f.heads * 129);
    for (auto& v : b) v = (rand() % 1000) / 500.f - 1;
    bias = own<float>(b.size(), 0);
    CK(cudaMemcpy(bias, b.data(), b.size() * 4, cudaMemcpyHostToDevice));
    p.bias = (uint64_t)bias;
    p.layers = f.layers, p.heads = f.heads, p.headWidth = W, p.dKv = f.dKv, p.widthShift = W == 64 ? 6 : W == 128 ? 7 : 8, p.dModel = f.D, p.vocab = f.vocab, p.activation = f.activation, p.gated = f.gated;
    p.epsilon = 1e-6f, p.logitScale = 1 / sqrtf(f.D);
    p.gridPad = up(G, 16);
    p.counterWords = (f.layers + 1) * POINTS * COUNTER_WORDS + f.layers * (MAX_COLUMNS + 1) * f.heads;
    place_slots(p, (uint64_t)own<uint8_t>(place_slots(p, 0, G), 0), G);
    decoder_clean<<<G, 256>>>(p);
    CK(cudaGetLastError());
    p.logits = (uint64_t)own<float>((size_t)8 * p.matrices[HEAD].tiles * 16, 0), p.bests = (uint64_t)own<float>((size_t)8 * p.gridPad * 3, 0);
    p.results = (uint64_t)own<Result>(8, 0);
    p.counters = (uint64_t)own<unsigned>(2 * p.counterWords, 0), p.nextCounters = p.counters + p.counterWords * 4;
    CK(cudaDeviceSynchronize());
  }
  ~Model() {
    for (auto q : owned) cudaFree(q);
  }
};

struct Memory {
  int tokens, slots, share, parts;
  std::vector<half*> k, v;
  uint8_t* packed;
  size_t layerBytes;
  Memory(Model& m, int S, bool keep) : tokens(S) {
    slots = div_up(S, 4096 / m.W), share = div_up(slots, std::max(1, std::min(slots, G / m.f.heads))), parts = div_up(slots, share);
    layerBytes = (size_t)m.f.heads * slots * CROSS_BYTES;
    packed = device<uint8_t>(layerBytes * m.f.layers, 0xff);
    const size_t n = (size_t)S * m.f.heads * m.f.dKv;
    for (int l = 0; l < m.f.layers; l++) {
      half *a = device<half>(n, 0), *b = device<half>(n, 0);
      random_halves<<<512, 256>>>(a, n, m.seed += 7, 1.7f);
      random_halves<<<512, 256>>>(b, n, m.seed += 7, 1.7f);
      decoder_pack_cross<<<1024, 256>>>(a, b, packed + l * layerBytes, S, m.f.heads, m.f.dKv, m.W, slots);
      CK(cudaDeviceSynchronize());
      if (keep) k.push_back(a), v.push_back(b);
      else cudaFree(a), cudaFree(b);
    }
  }
  ~Memory() {
    cudaFree(packed);
    for (auto q : k) cudaFree(q);
    for (auto q : v) cudaFree(q);
  }
};

static bool counterSet = false;
static void launch(Model& m, StepParams& p, bool wide, cudaStream_t stream = 0) {
  const int fixed = wide ? Shape<8>::FIXED_BYTES : Shape<1>::FIXED_BYTES;
  p.stages = std::min(16, (sharedLimit - fixed) / STAGE_BYTES);
  p.inFlight = std::min(p.stages, p.columns == 1 ? inFlight : inFlightOfSeveral), p.ahead = p.columns == 1 ? ahead : aheadOfSeveral, p.pace = pace;
  const int bytes = fixed + p.stages * STAGE_BYTES;
  const void* kernel = wide ? (const void*)decoder_step_8 : (const void*)decoder_step_1;
  CK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  p.counters = m.p.counters + (counterSet ? m.p.counterWords * 4 : 0);
  p.nextCounters = m.p.counters + (counterSet ? 0 : m.p.counterWords * 4);
  counterSet = !counterSet;
  p.slot = m.slot, p.dirty = m.dirty, p.late = p.columns == 1 ? late : lateOfSeveral;
  m.slot = (m.slot + p.layers + 1) % 3, m.dirty = p.columns;
  void* args[] = {&p};
  CK(cudaLaunchCooperativeKernel(kernel, dim3(G), dim3(STEP_THREADS), args, bytes, stream));
}

struct Decoder {
  Model& m;
  Memory& mem;
  int rows, capacity, length = 0;
  half *keys, *values;
  float* partial;
  uint8_t* rowOf;
  std::vector<uint8_t> table;
  bool reordered = false;
  std::vector<float> logits;
  std::vector<Result> results;
  Decoder(Model& model, Memory& memory, int r, int cap) : m(model), mem(memory), rows(r), capacity(cap) {
    const size_t n = (size_t)m.f.layers * rows * m.f.heads * cap * m.W;
    keys = device<half>(n, 0xff), values = device<half>(n, 0xff);
    const size_t self = (size_t)8 * m.f.heads * div_up(cap, SPLIT_KEYS) * (m.W + 8);
    partial = device<float>(self, 0xff);
    rowOf = device<uint8_t>((size_t)rows * cap, 0);
    table.resize((size_t)rows * cap);
    for (int r2 = 0; r2 < rows; r2++) for (int i = 0; i < cap; i++) table[r2 * cap + i] = r2;
  }
  ~Decoder() { cudaFree(keys), cudaFree(values), cudaFree(partial), cudaFree(rowOf); }
  StepParams params(int perRow) {
    StepParams p = m.p;
    p.keys = (uint64_t)keys, p.values = (uint64_t)values, p.cacheStride = (size_t)rows * m.f.heads * capacity * m.W * 2;
    p.rowOf = reordered ? (uint64_t)rowOf : 0;
    p.cross = (uint64_t)mem.packed, p.crossStride = mem.layerBytes, p.partial = (uint64_t)partial;
    p.perRow = perRow, p.length = length, p.capacity = capacity, p.crossSlots = mem.slots, p.crossParts = mem.parts, p.crossShare = mem.share, p.sourceLength = mem.tokens;
    return p;
  }
  void step(const std::vector<int>& tokens, int perRow, bool forceWide = false) {
    const int total = rows * perRow, stride = m.p.matrices[HEAD].tiles * 16;
    logits.assign((size_t)total * m.f.vocab, 0), results.resize(total);
    for (int first = 0; first < total; first += 8) {
      StepParams p = params(perRow);
      p.firstColumn = first, p.columns = std::min(8, total - first);
      for (int i = 0; i < p.columns; i++) p.tokens[i] = tokens[first + i], p.targets[i] = (tokens[first + i] * 7 + 3) % m.f.vocab;
      CK(cudaMemset((void*)p.logits, 0xff, (size_t)8 * stride * 4));
      CK(cudaMemset((void*)p.results, 0xff, 8 * sizeof(Result)));
      launch(m, p, forceWide || p.columns > 1);
      CK(cudaDeviceSynchronize());
      for (int i = 0; i < p.columns; i++)
        CK(cudaMemcpy(logits.data() + (size_t)(first + i) * m.f.vocab, (float*)p.logits + (size_t)i * stride, m.f.vocab * 4, cudaMemcpyDeviceToHost));
      CK(cudaMemcpy(results.data() + first, (void*)p.results, p.columns * sizeof(Result), cudaMemcpyDeviceToHost));
    }
    length += perRow;
  }
  void reorder(const std::vector<int>& parents) {
    auto old = table;
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < length; i++) table[r * capacity + i] = old[parents[r] * capacity + i];
    CK(cudaMemcpy(rowOf, table.data(), table.size(), cudaMemcpyHostToDevice));
    reordered = true;
  }
};

struct Reference {
  Model& m;
  Memory& mem;
  int rows, capacity, length = 0, stride;
  double *keys, *values, *x, *n, *a, *q, *gu, *upv, *lg;
  size_t rowStride, layerStride;
  std::vector<double> logits;
  static constexpr int COLUMNS = 256;  // most that one step of a plan feeds
  Reference(Model& model, Memory& memory, int r, int cap) : m(model), mem(memory), rows(r), capacity(cap) {
    const int inner = m.f.heads * m.f.dKv;
    rowStride = (size_t)cap * inner, layerStride = rowStride * rows;
    keys = device<double>(layerStride * m.f.layers, 0), values = device<double>(layerStride * m.f.layers, 0);
    stride = std::max({3 * inner, m.f.D, m.f.F, m.f.vocab});
    for (double** v : {&x, &n, &a, &q, &gu, &upv, &lg}) *v = device<double>((size_t)COLUMNS * stride, 0);
  }
  ~Reference() { for (double* v : {keys, values, x, n, a, q, gu, upv, lg}) cudaFree(v); }
  void step(const std::vector<int>& tokens, int perRow) {
    using namespace reference;
    if (rows * perRow > COLUMNS) printf("the plan is too wide for the reference\n"), exit(98);
    const int C = rows * perRow, D = m.f.D, F = m.f.F, inner = m.f.heads * m.f.dKv;
    int* t = device<int>(C, 0);
    CK(cudaMemcpy(t, tokens.data(), C * 4, cudaMemcpyHostToDevice));
    auto mul = [&](const Plain& w, double* in, double* out, int add, int offset = 0) {
      product<<<div_up(w.N, 8), 256>>>(w.w, w.scales, w.N, w.K, w.Kp, in, stride, out + offset, stride, C, add);
      CK(cudaGetLastError());
    };
    embed<<<C, 256>>>(m.embedding.w, m.embedding.scales, D, m.embedding.Kp, t, x, stride);
    for (int l = 0; l < m.f.layers; l++) {
      auto& w = m.plain[l];
      double *K = keys + l * layerStride, *V = values + l * layerStride;
      norm<<<C, 1024>>>(x, m.norms[l][0], n, D, stride, 1e-6);
      for (int i = 0; i < 3; i++) mul(w[i], n, q, 0, i * inner);
      store_cache<<<C, 256>>>(q, stride, inner, K, inner, rowStride, perRow, length);
      store_cache<<<C, 256>>>(q, stride, 2 * inner, V, inner, rowStride, perRow, length);
      attention<double><<<C * m.f.heads, 256, 4096 * 8>>>(q, stride, K, V, m.f.heads, m.f.dKv, rowStride, perRow, length, 0,
                                                         m.bias + (m.f.biasEvery ? (size_t)l * m.f.heads * 129 : 0), 128, a, stride);
      mul(w[3], a, x, 1);
      norm<<<C, 1024>>>(x, m.norms[l][1], n, D, stride, 1e-6);
      mul(w[4], n, q, 0);
      attention<half><<<C * m.f.heads, 256, 4096 * 8>>>(q, stride, mem.k[l], mem.v[l], m.f.heads, m.f.dKv, 0, perRow, length, mem.tokens, nullptr, 0, a, stride);
      mul(w[5], a, x, 1);
      norm<<<C, 1024>>>(x, m.norms[l][2], n, D, stride, 1e-6);
      mul(w[6], n, gu, 0);
      if (m.f.gated) mul(w[7], n, upv, 0);
      activate<<<C, 256>>>(gu, m.f.gated ? upv : nullptr, F, stride, m.f.activation);
      mul(w[8], gu, x, 1);
    }
    norm<<<C, 1024>>>(x, m.finalNorm, n, D, stride, 1e-6);
    mul(m.embedding, n, lg, 0);
    CK(cudaDeviceSynchronize());
    logits.resize((size_t)C * m.f.vocab);
    for (int c = 0; c < C; c++) CK(cudaMemcpy(logits.data() + (size_t)c * m.f.vocab, lg + (size_t)c * stride, m.f.vocab * 8, cudaMemcpyDeviceToHost));
    for (auto& v : logits) v *= m.p.logitScale;
    cudaFree(t);
    length += perRow;
  }
  void reorder(const std::vector<int>& parents) {
    int* d = device<int>(rows, 0);
    CK(cudaMemcpy(d, parents.data(), rows * 4, cudaMemcpyHostToDevice));
    double* tmp = device<double>(layerStride, 0);
    for (double* c : {keys, values})
      for (int l = 0; l < m.f.layers; l++) {
        reference::permute<<<dim3(64, rows), 256>>>(c + l * layerStride, tmp, d, rowStride);
        CK(cudaMemcpy(c + l * layerStride, tmp, layerStride * 8, cudaMemcpyDeviceToDevice));
      }
    cudaFree(tmp), cudaFree(d);
  }
};

static std::vector<int> randoms(int n, int vocab) {
  std::vector<int> t(n);
  for (auto& v : t) v = rand() % vocab;
  return t;
}

// Relative error of logits, and whether ids and log-probabilities follow from them.
static double compare(const char* name, const char* what, Decoder& d, Reference& r, const std::vector<int>& tokens, double limit) {
  const int V = d.m.f.vocab;
  double worst = 0;
  bool bad = false;
  for (size_t c = 0; c < d.results.size(); c++) {
    double e = 0, n = 0, lse = 0, own = 0;
    const float* a = d.logits.data() + c * V;
    const double* b = r.logits.data() + c * V;
    for (int i = 0; i < V; i++) e += (a[i] - b[i]) * (a[i] - b[i]), n += b[i] * b[i];
    const double error = sqrt(e / n);
    if (!(error <= worst)) worst = error;
    const int best = std::max_element(a, a + V) - a;
    for (int i = 0; i < V; i++) lse += exp(b[i] - a[best]), own += exp((double)a[i] - a[best]);
    lse = a[best] + log(lse), own = a[best] + log(own);
    const int target = (tokens[c] * 7 + 3) % V;
    const auto& res = d.results[c];
    if (res.id != best || fabs(res.logprob - (a[best] - own)) > 1e-4 || fabs(res.targetLogprob - (a[target] - own)) > 1e-4 || fabs(res.logSumExp - lse) > 0.02) {
      bad = true;
      printf("  column %zu: id %d (%d), logprob %f (%f), target %f (%f), lse %f (%f)\n", c, res.id, best, res.logprob, a[best] - own,
             res.targetLogprob, a[target] - own, res.logSumExp, lse);
    }
  }
  if (!(worst <= limit) || bad) {
    failures++;
    printf("FAIL %s %s: relative error %.2e%s\n", name, what, worst, bad ? ", results wrong" : "");
  }
  return worst;
}

static void check(const Form& form, int S, int rows, int capacity, const std::vector<int>& plan, bool exact) {
  Model m(form, true);
  Memory mem(m, S, true);
  Decoder d(m, mem, rows, capacity);
  Reference r(m, mem, rows, capacity);
  double worst = 0;
  std::vector<std::vector<int>> fed;
  for (size_t i = 0; i < plan.size(); i++) {
    char what[64];
    if (plan[i] == 0) {
      auto parents = randoms(rows, rows);
      d.reorder(parents), r.reorder(parents);
      continue;
    }
    auto t = randoms(rows * plan[i], form.vocab);
    snprintf(what, 64, "step %zu of %d at %d", i, plan[i], d.length);
    d.step(t, plan[i]), r.step(t, plan[i]);
    const double e = compare(form.name, what, d, r, t, 4e-3);
    if (!(e <= worst)) worst = e;
    fed.push_back(t);
  }
  int different = 0, compared = 0;
  if (exact) {
    // every row again: alone and one token at a time (the kernel for one column), and in eights
    std::vector<int> lengths;
    for (int n : plan) if (n) lengths.push_back(n);
    for (int row = 0; row < rows; row++) {
      Decoder one(m, mem, 1, capacity), eights(m, mem, 1, capacity);
      std::vector<int> all;
      for (size_t i = 0; i < fed.size(); i++)
        for (int j = 0; j < lengths[i]; j++) all.push_back(fed[i][row * lengths[i] + j]);
      std::vector<std::vector<float>> singles;
      std::vector<Result> single;
      for (int t : all) one.step({t}, 1), singles.push_back(one.logits), single.push_back(one.results[0]);
      eights.step(all, (int)all.size());
      for (size_t i = 0; i < all.size(); i++) {
        compared++;
        if (memcmp(singles[i].data(), eights.logits.data() + i * form.vocab, form.vocab * 4) || memcmp(&single[i].id, &eights.results[i].id, 8)) different++;
      }
      // and against the rows together
      const auto& last = fed.back();
      const size_t n = last.size() / rows;
      for (size_t j = 0; j < n; j++) {
        compared++;
        if (memcmp(singles[all.size() - n + j].data(), d.logits.data() + (row * n + j) * form.vocab, form.vocab * 4)) different++;
      }
    }
    if (different) failures++, printf("FAIL %s: %d of %d columns differ between one and several\n", form.name, different, compared);
  }
  printf("%-34s S %4d rows %2d  worst %.2e  bit-equal %d of %d\n", form.name, S, rows, worst, compared - different, compared);
}

static double copy_speed() {
  void *a, *b;
  const size_t n = 1ull << 31;
  CK(cudaMalloc(&a, n));
  CK(cudaMalloc(&b, n));
  CK(cudaMemset(a, 0x5a, n));
  cudaEvent_t e0, e1;
  cudaEventCreate(&e0), cudaEventCreate(&e1);
  std::vector<float> t;
  for (int i = 0; i < 15; i++) {
    cudaEventRecord(e0), cudaMemcpyAsync(b, a, n, cudaMemcpyDeviceToDevice), cudaEventRecord(e1), cudaEventSynchronize(e1);
    float ms;
    cudaEventElapsedTime(&ms, e0, e1), t.push_back(ms);
  }
  std::sort(t.begin(), t.end());
  cudaFree(a), cudaFree(b);
  return 2 * n / t[7] / 1e9;
}

static const Form UL2 = {"flan-ul2", 4096, 16384, 16, 256, 32, 32128, SILU, true, false, 1};

static float median(Model& m, StepParams& p, int times) {
  cudaEvent_t e0, e1;
  cudaEventCreate(&e0), cudaEventCreate(&e1);
  std::vector<float> t;
  for (int i = 0; i < times; i++) {
    cudaEventRecord(e0), launch(m, p, p.columns > 1), cudaEventRecord(e1);
    CK(cudaEventSynchronize(e1));
    float ms;
    cudaEventElapsedTime(&ms, e0, e1), t.push_back(ms);
  }
  std::sort(t.begin(), t.end());
  return t[times / 2];
}

// The settings of the copies, for one column and eight: what decoder_shapes.ts has was chosen by this.
static void sweep(int S) {
  const double copy = copy_speed();
  Model m(UL2, false);
  Memory mem(m, S, false);
  for (int rows : {1, 8}) {
    Decoder d(m, mem, rows, 512);
    CK(cudaMemset(d.keys, 0x11, (size_t)m.f.layers * rows * 16 * 512 * 256 * 2));
    CK(cudaMemset(d.values, 0x11, (size_t)m.f.layers * rows * 16 * 512 * 256 * 2));
    d.length = 48;
    StepParams p = d.params(1);
    p.columns = rows;
    for (int i = 0; i < 8; i++) p.tokens[i] = 100 * i + 7;
    const double bytes = m.weightBytes + (double)mem.layerBytes * m.f.layers + 2.0 * 2 * m.f.layers * rows * 4096 * 48;
    for (int a : {0, 16})
      for (int l : {0, 32, 48, 64})
        for (int f : {2, 3}) {
          ahead = aheadOfSeveral = a, late = lateOfSeveral = l, inFlight = inFlightOfSeveral = f;
          const float ms = median(m, p, 25);
          printf("S %d rows %d ahead %2d pace %d late %3d in flight %d: %.3f ms = %.1f %%\n", S, rows, a, pace, l, f, ms, 100 * bytes / ms / 1e9 / copy);
        }
  }
}

static void timing(const std::vector<int>& sources) {
  const double copy = copy_speed();
  printf("copy %.2f TB/s\n", copy);
  Model m(UL2, false);
  for (int S : sources) {
    Memory mem(m, S, false);
    struct Case { int rows, perRow, length; };
    double base = 0;
#ifdef FLAN_TIMELINE
    for (Case c : {Case{1, 1, 48}, {8, 1, 48}}) {
#else
    for (Case c : {Case{1, 1, 0}, {1, 1, 48}, {1, 1, 400}, {8, 1, 48}, {1, 8, 48}, {4, 1, 48}, {1, 2, 48}}) {
#endif
      Decoder d(m, mem, c.rows, 512);
      CK(cudaMemset(d.keys, 0x11, (size_t)m.f.layers * c.rows * 16 * 512 * 256 * 2));
      CK(cudaMemset(d.values, 0x11, (size_t)m.f.layers * c.rows * 16 * 512 * 256 * 2));
      d.length = c.length;
      StepParams p = d.params(c.perRow);
      p.columns = c.rows * c.perRow;
      auto tokens = randoms(8, m.f.vocab);
      for (int i = 0; i < 8; i++) p.tokens[i] = tokens[i];
      const double bytes = m.weightBytes + (double)mem.layerBytes * m.f.layers + 2.0 * 2 * m.f.layers * c.rows * 4096 * c.length;
      const double ms = median(m, p, 50);
      if (c.rows * c.perRow == 1 && c.length == 48) base = ms;
      printf("S %4d rows %d x %d at %3d: median %.3f ms  %.3f GB  %.2f TB/s = %.1f %% of copy  stages %d%s", S, c.rows, c.perRow, c.length, ms,
             bytes / 1e9, bytes / ms / 1e9, 100 * bytes / ms / 1e9 / copy, p.stages, "");
      if (base && c.rows * c.perRow > 1) printf("  %.3f x one", ms / base);
      printf("\n");
#ifdef FLAN_TIMELINE
      static long long h[3][EVENTS][2];
      int lengths[3], zero[3] = {};
      CK(cudaMemcpyToSymbol(timelineLength, zero, sizeof zero));
      launch(m, p, p.columns > 1);
      CK(cudaMemcpyFromSymbol(h, timeline, sizeof h));
      CK(cudaMemcpyFromSymbol(lengths, timelineLength, sizeof lengths));
      const char* who[] = {"producer", "epilogue", "consumer"};
      for (int r = 0; r < 3; r++) {
        printf("  %s:", who[r]);
        for (int i = 0; i < std::min(lengths[r], EVENTS); i++) printf(" %lld:%lld", h[r][i][0], h[r][i][1] - h[1][0][1]);
        printf("\n");
      }
#endif
      fflush(stdout);
    }
  }
}

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  cudaDeviceProp prop;
  CK(cudaGetDeviceProperties(&prop, 0));
  G = prop.multiProcessorCount, sharedLimit = (int)prop.sharedMemPerBlockOptin;
  if (getenv("FLAN_SHARED")) sharedLimit = atoi(getenv("FLAN_SHARED"));
  if (getenv("FLAN_BLOCKS")) G = atoi(getenv("FLAN_BLOCKS"));
  if (getenv("FLAN_IN_FLIGHT")) inFlight = inFlightOfSeveral = atoi(getenv("FLAN_IN_FLIGHT"));
  if (getenv("FLAN_AHEAD")) ahead = atoi(getenv("FLAN_AHEAD"));
  if (getenv("FLAN_PACE")) pace = atoi(getenv("FLAN_PACE"));
  if (getenv("FLAN_LATE")) late = lateOfSeveral = atoi(getenv("FLAN_LATE"));
  const std::string what = argc > 1 ? argv[1] : "check";
  printf("%s, %d blocks, %d bytes of shared memory\n", prop.name, G, sharedLimit);
  if (what == "small") {
    check({"small gated silu", 384, 1024, 6, 64, 2, 700, SILU, true, false, 1}, 37, 1, 80, {1, 8, 1}, true);
    check({"wide heads", 512, 768, 4, 256, 2, 700, GELU_NEW, true, true, 1}, 70, 3, 80, {1, 2, 0, 1}, false);
  } else if (what == "check") {
    check({"starter", 384, 1024, 6, 64, 4, 16000, SILU, true, false, 1}, 100, 1, 160, {1, 1, 8, 30, 30, 5, 1, 1}, true);
    check({"starter, 4 rows, reordered", 384, 1024, 6, 64, 4, 16000, SILU, true, false, 1}, 31, 4, 160, {1, 1, 3, 0, 1, 60, 0, 1, 1, 0, 1}, false);
    check({"flan-t5-small, 8 rows", 512, 1024, 6, 64, 8, 32128, GELU_NEW, true, false, 1}, 200, 8, 80, {1, 1, 1}, true);
    check({"relu, not gated, 16 rows", 512, 2048, 8, 64, 3, 32128, RELU, false, false, 1}, 64, 16, 80, {1, 1}, true);
    check({"flan-t5-base", 768, 2048, 12, 64, 3, 32128, GELU_NEW, true, false, 1}, 512, 2, 80, {1, 4, 1}, true);
    check({"odd widths, heads of 32", 200, 328, 5, 32, 3, 1003, GELU_NEW, true, true, 1}, 1, 3, 80, {1, 7, 1}, true);
    check({"heads of 24", 328, 512, 5, 24, 3, 1003, SILU, true, false, 1}, 40, 2, 80, {1, 7, 1}, true);
    check({"heads of 8", 72, 96, 3, 8, 2, 50, RELU, false, true, 1}, 17, 2, 300, {1, 70, 70, 60, 1}, true);
    check({"heads of 128", 1024, 2816, 8, 128, 3, 5000, GELU_NEW, true, false, 1}, 300, 2, 200, {1, 70, 1}, true);
    check({"xl widths", 2048, 5120, 32, 64, 2, 32128, GELU_NEW, true, false, 1}, 333, 1, 80, {1, 8, 1}, true);
    check({"wide heads, large wo input", 1024, 4096, 4, 256, 3, 8000, SILU, true, false, 30000}, 129, 2, 200, {1, 66, 1}, true);
    check({"non-gated, large wo input", 1024, 4096, 4, 256, 3, 8000, RELU, false, true, 1e5}, 16, 2, 200, {1, 6, 1}, true);
  } else if (what == "big") {
    Form f = UL2;
    f.layers = argc > 2 ? atoi(argv[2]) : 4;
    check(f, 512, 1, 300, {1, 8, 1}, true);
    f.layers = 2;
    check(f, 2048, 2, 300, {1, 70, 1}, true);
    check(f, 77, 8, 64, {1, 1}, false);
  } else if (what == "probe") {
    Form f = UL2;
    f.layers = 2;
    Model m(f, false);
    Memory mem(m, 512, false);
    for (int length : {0, 48, 400})
      for (int rows : {1, 8})
        for (int i = 0; i < 5; i++) {
          Decoder d(m, mem, rows, 512);
          d.length = length;
          d.step(randoms(rows, f.vocab), 1);
          printf("length %d rows %d ok\n", length, rows);
        }
  } else if (what == "time") {
    std::vector<int> s;
    for (int i = 2; i < argc; i++) s.push_back(atoi(argv[i]));
    timing(s.empty() ? std::vector<int>{512, 2048} : s);
  } else if (what == "sweep") {
    sweep(argc > 2 ? atoi(argv[2]) : 512);
  }
  printf("%d failures\n", failures);
  return failures;
}
