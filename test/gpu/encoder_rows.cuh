// The encoder's buffers as rows, and the references applied to them.
#pragma once
#include "encoder_run.cuh"

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
