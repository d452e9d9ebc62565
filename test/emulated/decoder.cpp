// The decoder's kernels on an ordinary processor, against a decoder in double precision: small models of every form, all
// cuts of the work, and columns against each other bit for bit. See emulator.h for what this can show and what not.
//
//   g++ -std=c++17 -O2 -fno-strict-aliasing -ffp-contract=off -DFLAN_EMULATED -I test/emulated -o decoder test/emulated/decoder.cpp
//   ./decoder [seed [first]]      exit code: the number of failures; `first`: only the first form
#include <cstdio>
#include <string>
#include <vector>

#include "../../server/engine/cuda/kernels/decoder.cu"
#include "../gpu/decoder_slots.h"

static int failures = 0;
static unsigned seed = 1;
static uint32_t state = 12345;
static uint32_t draw() { return state = state * 1664525u + 1013904223u, state >> 8; }
static float uniform() { return draw() / (float)(1 << 24) * 2 - 1; }
static int up(int a, int b) { return (a + b - 1) / b * b; }
static int div_up(int a, int b) { return (a + b - 1) / b; }

struct Form {
  const char* name;
  int D, F, heads, dKv, layers, vocab, activation;
  bool gated, biasEvery;
  float hidden;  // how much larger than usual the input of wo is
};

struct Plain {  // as in a weight file
  int N = 0, K = 0, Kp = 0;
  std::vector<uint8_t> w;
  std::vector<half> scales;
  double at(int n, int k) const { return (w[(size_t)n * Kp + k] - 128) * (double)__half2float(scales[(size_t)n * (Kp / 128) + k / 128]); }
};

// 16-byte aligned memory that lives as long as the program's model does.
struct Arena {
  std::vector<std::unique_ptr<uint4[]>> kept;
  template <class T>
  T* take(size_t n, int fill) {
    kept.emplace_back(new uint4[n * sizeof(T) / 16 + 1]);
    memset((void*)kept.back().get(), fill, (n * sizeof(T) / 16 + 1) * 16);
    return (T*)kept.back().get();
  }
};

struct Model {
  Form f;
  int G, W, I, Dp;
  Arena arena;
  StepParams p{};
  std::vector<std::vector<Plain>> plain;
  Plain embedding;
  std::vector<std::vector<float>> norms;  // 3 a layer, and the final one
  std::vector<float> bias;
  bool counterSet = false;
  int slot = 0, dirty = 0;

  Matrix shape(int rows, int K) {
    Matrix m{};
    m.tiles = div_up(rows, 16), m.chunks = div_up(K, 256), m.parts = div_up(m.chunks, 16), m.unit = div_up(m.chunks, m.parts);
    m.group = m.parts > 1 ? 1 : std::max(1, std::min(m.tiles / G, 16 / m.unit));
    return m;
  }
  static size_t bytes(const Matrix& m) { return (size_t)m.tiles * m.chunks * CHUNK_BYTES; }
  Plain random(int N, int K, float c) {
    Plain m{N, K, up(K, 128), {}, {}};
    m.w.resize((size_t)N * m.Kp), m.scales.resize((size_t)N * m.Kp / 128);
    for (size_t i = 0; i < m.w.size(); i++) m.w[i] = (int)(i % m.Kp) < K ? 1 + draw() % 255 : 128;
    for (auto& s : m.scales) s = __float2half(c / (73.f * sqrtf(K)) * (1 + 0.5f * uniform()));
    return m;
  }
  Plain place(Plain m, uint64_t to, int chunks, int firstRow, int half8, int head, int padded) {
    emulated::run_alone([&] { decoder_relay(m.w.data(), m.scales.data(), (uint8_t*)to, m.N, m.K, m.Kp, chunks, firstRow, half8, head, padded); });
    return m;
  }

  Model(const Form& form, int blocks) : f(form), G(blocks) {
    W = f.dKv <= 64 ? 64 : f.dKv <= 128 ? 128 : 256, I = f.heads * W;
    Dp = up(f.D, 256);
    auto& m = p.matrices;
    m[QKV] = shape(3 * I, f.D), m[O] = m[XO] = shape(f.D, f.heads * f.dKv), m[XQ] = shape(I, f.D);
    m[WI] = shape(f.gated ? up(f.F, 8) * 2 : f.F, f.D), m[WO] = shape(f.D, f.F), m[HEAD] = shape(f.vocab, f.D);
    m[O].group = m[XO].group = m[WO].group = std::min(m[O].group, m[WO].group);
    size_t stride = 0;
    for (int i = QKV; i < HEAD; i++) m[i].weights = stride, stride += bytes(m[i]);
    p.layerStride = stride;
    const uint64_t base = (uint64_t)arena.take<uint8_t>(stride * f.layers, 128), table = (uint64_t)arena.take<uint8_t>(bytes(m[HEAD]), 128);
    for (int i = QKV; i < HEAD; i++) m[i].weights += base;
    m[HEAD].weights = p.embedding = table;
    half* norms16 = arena.take<half>((size_t)(f.layers * 3 + 1) * Dp, 0);
    for (int i = 0; i <= f.layers * 3; i++) {
      std::vector<float> g(f.D);
      for (auto& v : g) v = 1 + 0.5f * uniform();
      emulated::run_alone([&] { decoder_relay_norm(g.data(), norms16 + (size_t)i * Dp, f.D, Dp); });
      norms.push_back(g);
    }
    p.norms = (uint64_t)norms16;
    const int inner = f.heads * f.dKv;
    for (int l = 0; l < f.layers; l++) {
      const auto to = [&](int i) { return m[i].weights + l * stride; };
      const float qc = 2.f / sqrtf(f.dKv);
      std::vector<Plain> v;
      for (int i = 0; i < 3; i++) v.push_back(place(random(inner, f.D, i ? 1 : qc), to(QKV), m[QKV].chunks, i * I, -1, f.dKv, W));
      v.push_back(place(random(f.D, inner, 1), to(O), m[O].chunks, 0, -1, f.D, f.D));
      v.push_back(place(random(inner, f.D, qc), to(XQ), m[XQ].chunks, 0, -1, f.dKv, W));
      v.push_back(place(random(f.D, inner, 1), to(XO), m[XO].chunks, 0, -1, f.D, f.D));
      v.push_back(place(random(f.F, f.D, f.gated ? 1 : f.hidden), to(WI), m[WI].chunks, 0, f.gated ? 0 : -1, f.F, f.F));
      v.push_back(f.gated ? place(random(f.F, f.D, f.hidden), to(WI), m[WI].chunks, 0, 1, f.F, f.F) : Plain{});
      v.push_back(place(random(f.D, f.F, 1 / f.hidden), to(WO), m[WO].chunks, 0, -1, f.D, f.D));
      plain.push_back(v);
    }
    embedding = place(random(f.vocab, f.D, sqrtf(f.D)), table, m[HEAD].chunks, 0, -1, f.vocab, f.vocab);
    bias.resize((size_t)(f.biasEvery ? f.layers : 1) * f.heads * 129);
    for (auto& v : bias) v = uniform();
    p.bias = (uint64_t)bias.data(), p.maxDistance = 128, p.biasStride = f.biasEvery ? f.heads * 129 : 0;
    p.layers = f.layers, p.heads = f.heads, p.headWidth = W, p.widthShift = W == 64 ? 6 : W == 128 ? 7 : 8, p.dKv = f.dKv, p.dModel = f.D;
    p.vocab = f.vocab, p.activation = f.activation, p.gated = f.gated, p.epsilon = 1e-6f, p.logitScale = 1 / sqrtf(f.D);
    p.gridPad = up(G, 16), p.stages = 5, p.inFlight = 2, p.ahead = 3;
    p.counterWords = (f.layers + 1) * POINTS * COUNTER_WORDS + f.layers * (MAX_COLUMNS + 1) * f.heads;
    place_slots(p, (uint64_t)arena.take<uint8_t>(place_slots(p, 0, G), 0), G);
    emulated::launch([&] { decoder_clean(p); }, G, 32, 0, seed++);
    p.logits = (uint64_t)arena.take<float>(8 * m[HEAD].tiles * 16, 0);
    p.bests = (uint64_t)arena.take<float>(8 * p.gridPad * 3, 0), p.results = (uint64_t)arena.take<Result>(8, 0);
    p.counters = (uint64_t)arena.take<unsigned>(2 * p.counterWords, 0);
  }
};

struct Memory {
  int tokens, slots, share, parts;
  size_t layerBytes;
  Arena arena;
  std::vector<half*> k, v;
  uint8_t* packed;
  Memory(Model& m, int S) : tokens(S) {
    slots = div_up(S, 4096 / m.W), share = div_up(slots, std::max(1, std::min(slots, m.G / m.f.heads))), parts = div_up(slots, share);
    layerBytes = (size_t)m.f.heads * slots * CROSS_BYTES;
    packed = arena.take<uint8_t>(layerBytes * m.f.layers, 0xff);
    const int inner = m.f.heads * m.f.dKv;
    for (int l = 0; l < m.f.layers; l++) {
      for (auto* to : {&k, &v}) {
        to->push_back(arena.take<half>((size_t)S * inner, 0));
        for (int i = 0; i < S * inner; i++) to->back()[i] = __float2half(1.7f * uniform());
      }
      emulated::run_alone([&] { decoder_pack_cross(k[l], v[l], packed + l * layerBytes, S, m.f.heads, m.f.dKv, m.W, slots); });
    }
  }
};

struct Decoder {
  Model& m;
  Memory& mem;
  int rows, capacity, length = 0;
  bool reordered = false;
  Arena arena;
  std::vector<uint8_t> table;
  std::vector<float> logits;
  std::vector<Result> results;
  StepParams p;
  Decoder(Model& model, Memory& memory, int r, int cap) : m(model), mem(memory), rows(r), capacity(cap), table((size_t)r * cap), p(model.p) {
    const size_t n = (size_t)m.f.layers * rows * m.f.heads * cap * m.W;
    p.keys = (uint64_t)arena.take<half>(n, 0xff), p.values = (uint64_t)arena.take<half>(n, 0xff);
    p.cacheStride = (size_t)rows * m.f.heads * cap * m.W * 2, p.capacity = cap;
    const size_t self = (size_t)8 * m.f.heads * div_up(cap, SPLIT_KEYS) * (m.W + 8);
    p.partial = (uint64_t)arena.take<float>(self, 0xff);
    p.cross = (uint64_t)mem.packed, p.crossStride = mem.layerBytes, p.crossSlots = mem.slots, p.crossParts = mem.parts, p.crossShare = mem.share;
    p.sourceLength = mem.tokens;
    for (int i = 0; i < rows * cap; i++) table[i] = i / cap;
  }
  void step(const std::vector<int>& tokens, int perRow) {
    const int total = rows * perRow, stride = p.matrices[HEAD].tiles * 16, V = m.f.vocab;
    logits.assign((size_t)total * V, 0), results.resize(total);
    for (int first = 0; first < total; first += 8) {
      p.firstColumn = first, p.columns = std::min(8, total - first), p.perRow = perRow, p.length = length;
      p.rowOf = reordered ? (uint64_t)table.data() : 0;
      for (int i = 0; i < p.columns; i++) p.tokens[i] = tokens[first + i], p.targets[i] = (tokens[first + i] * 7 + 3) % V;
      p.counters = m.p.counters + (m.counterSet ? m.p.counterWords * 4 : 0), p.nextCounters = m.p.counters + (m.counterSet ? 0 : m.p.counterWords * 4);
      m.counterSet = !m.counterSet;
      p.slot = m.slot, p.dirty = m.dirty, p.late = seed % 3 * 60;
      m.slot = (m.slot + m.f.layers + 1) % 3, m.dirty = p.columns;
      memset((void*)p.logits, 0xff, (size_t)8 * stride * 4);
      const bool one = p.columns == 1;
      const size_t shared = (one ? Shape<1>::FIXED_BYTES : Shape<8>::FIXED_BYTES) + p.stages * STAGE_BYTES;
      emulated::launch([&] { one ? decoder_step_1(p) : decoder_step_8(p); }, m.G, STEP_THREADS, shared, seed++);
      for (int i = 0; i < p.columns; i++) memcpy(&logits[(size_t)(first + i) * V], (float*)p.logits + (size_t)i * stride, V * 4);
      memcpy(&results[first], (void*)p.results, p.columns * sizeof(Result));
    }
    length += perRow;
  }
  void reorder(const std::vector<int>& parents) {
    const auto old = table;
    for (int r = 0; r < rows; r++)
      for (int i = 0; i < length; i++) table[r * capacity + i] = old[parents[r] * capacity + i];
    reordered = true;
  }
};

// The same in double, with plain loops.
struct Reference {
  Model& m;
  Memory& mem;
  int rows, length = 0;
  std::vector<std::vector<std::vector<double>>> keys, values;  // [layer][row][position * inner + i]
  std::vector<double> logits;
  Reference(Model& model, Memory& memory, int r) : m(model), mem(memory), rows(r) {
    keys.assign(m.f.layers, std::vector<std::vector<double>>(r)), values = keys;
  }
  static std::vector<double> mul(const Plain& w, const std::vector<double>& x) {
    std::vector<double> y(w.N);
    for (int n = 0; n < w.N; n++)
      for (int k = 0; k < w.K; k++) y[n] += w.at(n, k) * x[k];
    return y;
  }
  std::vector<double> norm(const std::vector<double>& x, const std::vector<float>& g) {
    double s = 0;
    for (double v : x) s += v * v;
    std::vector<double> out(x.size());
    for (size_t i = 0; i < x.size(); i++) out[i] = x[i] / sqrt(s / x.size() + 1e-6) * g[i];
    return out;
  }
  template <class Key, class Value>
  std::vector<double> attend(const std::vector<double>& q, int n, Key key, Value value, const float* bias, int position) {
    const int H = m.f.heads, d = m.f.dKv;
    std::vector<double> out(H * d);
    for (int h = 0; h < H; h++) {
      std::vector<double> s(n);
      double top = -1e300, total = 0;
      for (int k = 0; k < n; k++) {
        for (int i = 0; i < d; i++) s[k] += q[h * d + i] * key(k, h * d + i);
        if (bias) s[k] += bias[h * 129 + std::min(position - k, 128)];
        top = std::max(top, s[k]);
      }
      for (int k = 0; k < n; k++) total += s[k] = exp(s[k] - top);
      for (int i = 0; i < d; i++)
        for (int k = 0; k < n; k++) out[h * d + i] += s[k] / total * value(k, h * d + i);
    }
    return out;
  }
  void step(const std::vector<int>& tokens, int perRow) {
    const int D = m.f.D, inner = m.f.heads * m.f.dKv;
    logits.clear();
    for (int c = 0; c < rows * perRow; c++) {
      const int row = c / perRow, position = length + c % perRow;
      std::vector<double> x(D);
      for (int k = 0; k < D; k++) x[k] = m.embedding.at(tokens[c], k);
      const auto add = [&](const std::vector<double>& y) { for (int i = 0; i < D; i++) x[i] += y[i]; };
      for (int l = 0; l < m.f.layers; l++) {
        const auto& w = m.plain[l];
        auto n = norm(x, m.norms[l * 3]);
        const auto q = mul(w[0], n), k = mul(w[1], n), v = mul(w[2], n);
        auto &K = keys[l][row], &V = values[l][row];
        K.insert(K.end(), k.begin(), k.end()), V.insert(V.end(), v.begin(), v.end());
        const float* b = m.bias.data() + (m.f.biasEvery ? l * m.f.heads * 129 : 0);
        add(mul(w[3], attend(q, position + 1, [&](int p, int i) { return K[(size_t)p * inner + i]; }, [&](int p, int i) { return V[(size_t)p * inner + i]; }, b, position)));
        const auto xq = mul(w[4], norm(x, m.norms[l * 3 + 1]));
        const auto from = [&](const half* h) { return [=](int p, int i) { return (double)__half2float(h[(size_t)p * inner + i]); }; };
        add(mul(w[5], attend(xq, mem.tokens, from(mem.k[l]), from(mem.v[l]), nullptr, 0)));
        n = norm(x, m.norms[l * 3 + 2]);
        auto h = mul(w[6], n);
        for (double& u : h) u = m.f.activation == RELU ? std::max(u, 0.) : m.f.activation == SILU ? u / (1 + exp(-u)) : u / (1 + exp(-1.5957691216057308 * (u + 0.044715 * u * u * u)));
        if (m.f.gated) {
          const auto upper = mul(w[7], n);
          for (size_t i = 0; i < h.size(); i++) h[i] *= upper[i];
        }
        add(mul(w[8], h));
      }
      for (double v : mul(m.embedding, norm(x, m.norms.back()))) logits.push_back(v * m.p.logitScale);
    }
    length += perRow;
  }
  void reorder(const std::vector<int>& parents) {
    for (auto* cache : {&keys, &values})
      for (auto& layer : *cache) {
        const auto old = layer;
        for (int r = 0; r < rows; r++) layer[r] = old[parents[r]];
      }
  }
};

static void fail(const char* name, const std::string& what) { failures++, printf("FAIL %s: %s\n", name, what.c_str()); }

// `plan`: tokens a row in each step; 0: reorder the rows. Ends with every row again, alone and in eights, bit for bit.
static void check(const Form& form, int blocks, int S, int rows, int capacity, const std::vector<int>& plan) {
  Model m(form, blocks);
  Memory mem(m, S);
  Decoder d(m, mem, rows, capacity);
  Reference r(m, mem, rows);
  const int V = form.vocab;
  double worst = 0;
  std::vector<std::vector<int>> all(rows);
  bool reordered = false;
  const auto any = [&](int n, int below) { std::vector<int> t(n); for (int& v : t) v = draw() % below; return t; };
  for (int n : plan) {
    if (n == 0) {
      const auto parents = any(rows, rows);
      d.reorder(parents), r.reorder(parents), reordered = true;
      continue;
    }
    const auto t = any(rows * n, V);
    d.step(t, n), r.step(t, n);
    for (int i = 0; i < rows * n; i++) {
      all[i / n].push_back(t[i]);
      const float* a = &d.logits[(size_t)i * V];
      const double* b = &r.logits[(size_t)i * V];
      double e = 0, sum = 0, total = 0;
      for (int j = 0; j < V; j++) e += (a[j] - b[j]) * (a[j] - b[j]), sum += b[j] * b[j];
      const double error = sqrt(e / sum);
      if (!(error <= worst)) worst = error;
      const int best = std::max_element(a, a + V) - a;
      for (int j = 0; j < V; j++) total += exp((double)a[j] - a[best]);
      const Result& got = d.results[i];
      if (got.id != best || !(fabs(got.logprob + log(total)) < 1e-4) || !(fabs(got.targetLogprob - (a[(t[i] * 7 + 3) % V] - a[best] - log(total))) < 1e-4))
        fail(form.name, "id " + std::to_string(got.id) + " for " + std::to_string(best));
    }
  }
  if (!(worst < 5e-3)) fail(form.name, "relative error " + std::to_string(worst));
  int compared = 0, different = 0;
  for (int row = 0; row < rows && !reordered; row++) {
    Decoder one(m, mem, 1, capacity), several(m, mem, 1, capacity);
    std::vector<float> singles;
    for (int t : all[row]) one.step({t}, 1), singles.insert(singles.end(), one.logits.begin(), one.logits.end());
    several.step(all[row], (int)all[row].size());
    compared += (int)all[row].size() + 1;
    different += memcmp(singles.data(), several.logits.data(), singles.size() * 4) != 0;
    const int n = plan.back();
    different += memcmp(&d.logits[(size_t)((row + 1) * n - 1) * V], &singles[singles.size() - V], V * 4) != 0;
  }
  if (different) fail(form.name, "one column and several differ");
  printf("%-32s %2d blocks, %3d source tokens, %d rows: error %.1e, %d columns compared\n", form.name, blocks, S, rows, worst, compared);
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc > 1) seed = 1000 * atoi(argv[1]) + 1;
  check({"heads of 8, relu, not gated", 72, 96, 2, 8, 5, 50, RELU, false, true, 1}, 4, 80, 2, 16, {1, 3, 1});
  if (argc > 2) return printf("%d failures\n", failures), failures;
  check({"heads of 24, silu", 328, 264, 2, 24, 1, 70, SILU, true, false, 1}, 3, 70, 1, 16, {1, 5, 1});
  check({"heads of 64, gelu, reordered", 128, 128, 2, 64, 2, 90, GELU_NEW, true, false, 1}, 5, 150, 3, 12, {2, 0, 1, 1, 0, 1});
  check({"heads of 128", 96, 160, 2, 128, 1, 60, SILU, true, true, 1}, 7, 90, 1, 12, {1, 8, 1});
  check({"heads of 256, large wo input", 64, 320, 1, 256, 1, 60, SILU, true, false, 30000}, 6, 40, 2, 12, {1, 4, 1});
  check({"wo in two parts", 24, 4200, 1, 16, 1, 40, GELU_NEW, false, false, 1e5f}, 2, 5, 1, 8, {1, 2});
  check({"more than 64 cached tokens", 40, 64, 1, 16, 1, 33, RELU, true, false, 1}, 3, 9, 1, 72, {66, 1});
  printf("%d failures\n", failures);
  return failures;
}
