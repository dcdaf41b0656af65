// Microseconds per token of sampling from 129,280 logits, beside reading them once.
//
// Prints CSV: metric,unit,value. Two shapes of logits: peaked as a trained model's, and flat as a
// random one's, where top_p keeps tens of thousands of tokens.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "fathom/model/sampling/sampler.h"

namespace {

using fathom::Index;
using namespace fathom::sampling;

constexpr std::size_t kVocabSize = 129'280;

std::vector<float> random_logits(bool is_peaked) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2.5F);
  std::vector<float> logits(kVocabSize);
  std::generate(logits.begin(), logits.end(), [&] { return normal(random); });
  for (std::size_t i = 0; is_peaked && i < 20; ++i) {
    logits[i * 997] = 24 - static_cast<float>(i) / 2;
  }
  return logits;
}

// The best of 15 rounds of 20 calls.
void report(const std::string& metric, const std::function<void(Index)>& call) {
  double best_us = 1e9;
  for (int round = 0; round < 15; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (Index i = 0; i < 20; ++i) {
      call(i);
    }
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    best_us = std::min(best_us, elapsed.count() / 20);
  }
  std::printf("%s,us/token,%.1f\n", metric.c_str(), best_us);
}

void report_all(const std::string& shape, const std::vector<float>& logits) {
  Sampler sampler;
  const auto sample = [&](const std::string& name, const SamplingOptions& options) {
    report(shape + " " + name, [&](Index position) {
      sampler.sample({.logits = logits, .position = position}, options);
    });
  };
  BlockMaxima maxima;
  report(shape + " read once", [&](Index) { find_maxima(logits, maxima); });
  SamplingOptions options;
  options.temperature = 0;
  sample("greedy", options);
  options.temperature = 0.7;
  sample("temperature", options);
  options.top_p = 0.95;
  sample("top_p 0.95", options);
  options.top_k = 40;
  sample("top_k 40 top_p 0.95", options);
  options = {};
  options.min_p = 0.05;
  sample("min_p 0.05", options);
  options = {};
  options.typical_p = 0.9;
  sample("typical_p 0.9", options);
  TokenLogprobs logprobs;
  report(shape + " 20 logprobs",
         [&](Index i) { sampler.logprobs(logits, static_cast<TokenId>(i), 20, logprobs); });
}

}  // namespace

int main() {
  std::printf("metric,unit,value\n");
  report_all("peaked", random_logits(true));
  report_all("flat", random_logits(false));
  return 0;
}
