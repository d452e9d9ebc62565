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
#include "encoder_rows.cuh"

static int failures = 0;

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
