// The kernel that picks tokens, on an ordinary processor, against plain loops in double precision over sorted logits.
//
//   g++ -std=c++17 -O2 -ffp-contract=off -DFLAN_EMULATED -I test/emulated -o pick test/emulated/pick.cpp && ./pick
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "../../server/engine/cuda/kernels/decoder_pick.cu"

static int failures = 0;
static std::mt19937 random_bits(7);
static double uniform() { return random_bits() / 4294967296.0; }

// Logits of one column: `kinds` different values, or all different.
static std::vector<float> logits_of(int vocab, float spread, int kinds) {
  std::vector<float> out(vocab);
  std::normal_distribution<float> normal(0, spread);
  for (float& v : out) v = kinds ? (int)(random_bits() % kinds) * 0.25f - 1 : normal(random_bits);
  return out;
}

static std::vector<int> sorted_ids(const std::vector<float>& logits) {
  std::vector<int> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  return ids;
}

static double log_sum(const std::vector<float>& logits) {
  double sum = 0;
  for (float v : logits) sum += exp((double)v);
  return log(sum);
}

struct Draw {
  int id;
  double margin;  // how far the draw, or the edge of the nucleus, is from another answer, as a share of all
};

static Draw reference(const std::vector<float>& logits, double temperature, int topK, double topP, double u) {
  const auto ids = sorted_ids(logits);
  std::vector<double> weights(logits.size());
  double total = 0, margin = 1;
  for (size_t i = 0; i < ids.size(); i++) {
    if (topK > 0 && topK < (int)ids.size() && logits[ids[i]] < logits[ids[topK - 1]]) break;
    total += weights[ids[i]] = exp(((double)logits[ids[i]] - logits[ids[0]]) / temperature);
  }
  if (topP < 1) {
    double sum = 0;
    for (int id : ids) {
      if (sum >= topP * total) weights[id] = 0;
      else sum += weights[id], margin = std::min(margin, fabs(sum / total - topP));
    }
    total = sum;
  }
  double sum = 0;
  int last = 0;
  for (size_t i = 0; i < weights.size(); i++) {
    if (weights[i] == 0) continue;
    sum += weights[i], last = (int)i;
    margin = std::min(margin, fabs(sum / total - u));
    if (sum > u * total) break;
  }
  return {last, margin};
}

static void run(PickParams& p, const std::vector<std::vector<float>>& columns, std::vector<Picked>& picked) {
  const int per = std::max(p.count, 1);
  p.vocab = (int)columns[0].size(), p.stride = p.vocab + 5;
  std::vector<float> all(columns.size() * p.stride, NAN);
  std::vector<Result> results(columns.size());
  for (size_t c = 0; c < columns.size(); c++) {
    std::copy(columns[c].begin(), columns[c].end(), all.begin() + c * p.stride);
    results[c].logSumExp = (float)log_sum(columns[c]);
  }
  picked.assign(columns.size() * per, {-1, 0});
  p.logits = (uint64_t)all.data(), p.results = (uint64_t)results.data(), p.picked = (uint64_t)picked.data();
  emulated::launch([&] { decoder_pick(p); }, (unsigned)columns.size(), PICK_THREADS, sizeof(PickWork), random_bits());
  for (size_t c = 0; c < columns.size(); c++)
    for (int i = 0; i < per; i++) {
      const Picked& got = picked[c * per + i];
      if (got.id < 0 || got.id >= p.vocab || !(fabs(got.logprob - (columns[c][got.id] - log_sum(columns[c]))) < 1e-4))
        failures++, printf("FAIL id %d, log-probability %f\n", got.id, got.logprob);
    }
}

int main() {
  std::vector<Picked> picked;
  int draws = 0, near = 0;
  for (const int vocab : {1, 2, 50, 1003, 5000}) {
    for (const int kinds : {0, 3}) {
      for (const int count : {1, 2, 8, 60}) {
        PickParams p{};
        p.count = std::min(count, vocab);
        const std::vector<std::vector<float>> columns{logits_of(vocab, 2, kinds), logits_of(vocab, 30, kinds)};
        run(p, columns, picked);
        for (size_t c = 0; c < columns.size(); c++) {
          std::vector<int> got, expected = sorted_ids(columns[c]);
          for (int i = 0; i < p.count; i++) got.push_back(picked[c * p.count + i].id);
          expected.resize(p.count);
          std::sort(got.begin(), got.end()), std::sort(expected.begin(), expected.end());
          if (got != expected) failures++, printf("FAIL the best %d of %d\n", p.count, vocab);
        }
      }
      for (const int topK : {0, 1, 40})
        for (const double topP : {1.0, 0.9, 0.3})
          for (const double temperature : {0.7, 3.0}) {
            PickParams p{};
            p.topK = std::min(topK, vocab), p.topP = topP, p.inverseTemperature = 1 / temperature;
            const std::vector<std::vector<float>> columns{logits_of(vocab, 2, kinds), logits_of(vocab, 5, kinds)};
            for (double& u : p.uniforms) u = uniform();
            p.uniforms[0] = draws % 3 ? p.uniforms[0] : draws % 2 ? 0 : 1 - 1e-12;
            run(p, columns, picked);
            for (size_t c = 0; c < columns.size(); c++, draws++) {
              const Draw expected = reference(columns[c], temperature, topK, topP, p.uniforms[c]);
              // Weights are rounded to 24 bits there: closer than that to a limit either side is right.
              if (expected.margin < 1e-6) near++;
              else if (picked[c].id != expected.id)
                failures++, printf("FAIL a draw of %d, top k %d, top p %.1f: %d instead of %d\n", vocab, topK, topP, picked[c].id, expected.id);
            }
          }
    }
  }
  PickParams p{};
  p.topP = 1, p.inverseTemperature = 1;
  const std::vector<std::vector<float>> broken{std::vector<float>(100, NAN)};
  std::vector<Result> results{{0, NAN, NAN, NAN}};
  picked.assign(1, {-1, 0});
  p.logits = (uint64_t)broken[0].data(), p.results = (uint64_t)results.data(), p.picked = (uint64_t)picked.data(), p.vocab = p.stride = 100;
  emulated::launch([&] { decoder_pick(p); }, 1, PICK_THREADS, sizeof(PickWork), 1);
  if (picked[0].logprob == picked[0].logprob) failures++, printf("FAIL logits that are not numbers give a token\n");
  printf("%d draws, %d of them too near a limit to tell\n%d failures\n", draws, near, failures);
  return failures;
}
