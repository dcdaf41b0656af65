#include "fathom/model/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/random.h"

namespace fathom::sampling {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(Index count, std::uint64_t seed, float deviation = 3) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(to_size(count));
  std::generate(logits.begin(), logits.end(), [&] { return normal(random); });
  return logits;
}

// The header of options.h, in double and with plain sorts: the probability of every token.
struct Reference {
  std::vector<double> probabilities;

  void normalise() {
    const double sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
    for (double& probability : probabilities) {
      probability /= sum;
    }
  }

  // Keeps tokens in ascending order of `key` until they hold `mass`.
  void keep(double mass, const std::function<double(double)>& key) {
    std::vector<std::size_t> order(probabilities.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return key(probabilities[a]) < key(probabilities[b]);
    });
    double sum = 0;
    for (const std::size_t id : order) {
      const double probability = probabilities[id];
      if (sum >= mass) {
        probabilities[id] = 0;
      }
      sum += probability;
    }
    normalise();
  }
};

Reference reference_of(const std::vector<float>& logits,
                       const SamplingOptions& options,
                       const std::vector<bool>& allowed,
                       const std::vector<Index>& prompt_counts,
                       const std::vector<Index>& reply_counts) {
  Reference reference;
  double largest = -1e300;
  std::vector<double> adjusted;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    double logit = static_cast<double>(logits[id]);
    for (const LogitBias& entry : options.logit_bias) {
      logit += to_size(entry.id) == id ? entry.bias : 0;
    }
    if (prompt_counts[id] + reply_counts[id] > 0) {
      logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    }
    if (reply_counts[id] > 0) {
      logit -= options.presence_penalty +
               options.frequency_penalty * static_cast<double>(reply_counts[id]);
    }
    adjusted.push_back(allowed[id] ? logit / options.temperature
                                   : -std::numeric_limits<double>::infinity());
    largest = std::max(largest, adjusted.back());
  }
  for (const double logit : adjusted) {
    reference.probabilities.push_back(std::exp(logit - largest));
  }
  reference.normalise();
  const double min_probability = options.min_p * *std::max_element(reference.probabilities.begin(),
                                                                   reference.probabilities.end());
  for (double& probability : reference.probabilities) {
    probability = probability < min_probability ? 0 : probability;
  }
  reference.normalise();
  if (options.top_k > 0) {
    std::vector<double> sorted = reference.probabilities;
    std::sort(sorted.rbegin(), sorted.rend());
    const double least = sorted[std::min(to_size(options.top_k), sorted.size()) - 1];
    for (double& probability : reference.probabilities) {
      probability = probability < least ? 0 : probability;
    }
    reference.normalise();
  }
  if (options.typical_p < 1) {
    double entropy = 0;
    for (const double p : reference.probabilities) {
      entropy -= p > 0 ? p * std::log(p) : 0;
    }
    reference.keep(options.typical_p, [&](double p) {
      return p > 0 ? std::abs(-std::log(p) - entropy) : std::numeric_limits<double>::infinity();
    });
  }
  if (options.top_p < 1) {
    reference.keep(options.top_p, [](double p) { return -p; });
  }
  return reference;
}

struct Case {
  std::vector<float> logits;
  SamplingOptions options;
  std::vector<bool> allowed;
  std::vector<std::uint32_t> mask;
  std::vector<Index> prompt_counts;
  std::vector<Index> reply_counts;
  TokenHistory history;
};

Case random_case(std::mt19937_64& random) {
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  const auto between = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  Case result;
  const Index vocab_size = 1 + static_cast<Index>(random() % 700);
  result.logits = random_logits(vocab_size, random(), chance(50) ? 0.5F : 4);
  SamplingOptions& options = result.options;
  options.seed = random();
  options.temperature = between(0.2, 2);
  options.top_k = chance(40) ? 1 + static_cast<Index>(random() % 50) : 0;
  options.top_p = chance(40) ? between(0.05, 1) : 1;
  options.min_p = chance(30) ? between(0, 0.3) : 0;
  options.typical_p = chance(30) ? between(0.05, 1) : 1;
  options.repetition_penalty = chance(30) ? between(0.8, 1.5) : 1;
  options.presence_penalty = chance(30) ? between(-2, 2) : 0;
  options.frequency_penalty = chance(30) ? between(-1, 1) : 0;
  result.allowed.assign(to_size(vocab_size), true);
  result.prompt_counts.assign(to_size(vocab_size), 0);
  result.reply_counts.assign(to_size(vocab_size), 0);
  const auto any_id = [&] { return static_cast<TokenId>(random() % to_size(vocab_size)); };
  for (int i = 0; i < 20; ++i) {
    const TokenId in_prompt = any_id();
    const TokenId in_reply = any_id();
    ++result.prompt_counts[to_size(in_prompt)];
    ++result.reply_counts[to_size(in_reply)];
    result.history.add_prompt(std::vector<TokenId>{in_prompt});
    result.history.add_reply(in_reply);
  }
  if (chance(30)) {
    options.logit_bias = {{any_id(), between(-5, 5)}};
  }
  if (chance(30)) {
    result.mask.assign(to_size(ceil_div(vocab_size, 32)), 0);
    for (std::size_t id = 0; id < result.allowed.size(); ++id) {
      result.allowed[id] = chance(30) || id == 0;
      result.mask[id / 32] |= result.allowed[id] ? std::uint32_t{1} << (id % 32) : 0;
    }
  }
  return result;
}

TEST(Sampler, DrawsWhatAPlainComputationInDoubleDraws) {
  std::mt19937_64 random(42);
  Sampler sampler;
  Index num_compared = 0;
  for (int round = 0; round < 4000; ++round) {
    const Case test = random_case(random);
    const Reference reference = reference_of(test.logits, test.options, test.allowed,
                                             test.prompt_counts, test.reply_counts);
    for (Index position = 0; position < 4; ++position) {
      const double number = uniform(test.options.seed, 1, position);
      double sum = 0;
      TokenId expected = -1;
      bool is_near_border = false;
      for (std::size_t id = 0; id < test.logits.size(); ++id) {
        sum += reference.probabilities[id];
        is_near_border = is_near_border || std::abs(sum - number) < 1e-5;
        if (expected < 0 && sum > number) {
          expected = static_cast<TokenId>(id);
        }
      }
      if (is_near_border) {
        continue;
      }
      ++num_compared;
      const auto token = sampler.sample({.logits = test.logits,
                                         .allowed_tokens = test.mask,
                                         .history = &test.history,
                                         .choice_idx = 1,
                                         .position = position},
                                        test.options);
      ASSERT_TRUE(token.has_value());
      ASSERT_EQ(*token, expected) << "round " << round << ", position " << position;
    }
  }
  EXPECT_GT(num_compared, 15'000);
}

// Chi-square with 31 degrees of freedom exceeds 70 in about one case of 10,000.
TEST(Sampler, FollowsTheSoftmaxWithAndWithoutFilters) {
  const auto logits = random_logits(32, 8, 1);
  for (const Index top_k : {0, 32, 10}) {
    SamplingOptions options;
    options.seed = 99;
    options.top_k = top_k;
    const Reference reference = reference_of(logits, options, std::vector<bool>(32, true),
                                             std::vector<Index>(32, 0), std::vector<Index>(32, 0));
    constexpr Index kDraws = 100'000;
    std::vector<double> counts(32, 0);
    Sampler sampler;
    for (Index position = 0; position < kDraws; ++position) {
      counts[to_size(*sampler.sample({.logits = logits, .position = position}, options))] += 1;
    }
    double chi_square = 0;
    for (std::size_t id = 0; id < logits.size(); ++id) {
      const double expected = reference.probabilities[id] * kDraws;
      if (expected == 0) {
        EXPECT_EQ(counts[id], 0);
      } else {
        chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
      }
    }
    EXPECT_TRUE(chi_square <= 70) << top_k << ": " << chi_square;
  }
}

TEST(Sampler, TemperatureZeroTakesTheLowestIdOfEquals) {
  std::vector<float> logits(200, 1);
  logits[150] = 4;
  logits[90] = 4;
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler;
  EXPECT_EQ(sampler.sample({.logits = logits}, options), 90);
  options.logit_bias = {{90, -1}};
  EXPECT_EQ(sampler.sample({.logits = logits}, options), 150);
}

TEST(Sampler, UsedScratchDoesNotShowInTheResult) {
  const auto logits = random_logits(1000, 4);
  const auto other = random_logits(5000, 5);
  SamplingOptions options;
  options.top_p = 0.9;
  Sampler used;
  for (Index position = 0; position < 100; ++position) {
    used.sample({.logits = other, .position = position}, options);
    Sampler fresh;
    EXPECT_EQ(used.sample({.logits = logits, .position = position}, options),
              fresh.sample({.logits = logits, .position = position}, options));
  }
}

TEST(Sampler, NothingIsLeftWhenAllIsForbiddenOrImpossible) {
  const std::vector<float> logits = {1, 2, -kInfinity};
  Sampler sampler;
  const std::vector<std::uint32_t> none = {0};
  const std::vector<std::uint32_t> only_impossible = {4};
  for (const double temperature : {0.0, 1.0}) {
    SamplingOptions options;
    options.temperature = temperature;
    EXPECT_FALSE(sampler.sample({.logits = logits, .allowed_tokens = none}, options).has_value());
    EXPECT_FALSE(
        sampler.sample({.logits = logits, .allowed_tokens = only_impossible}, options).has_value());
  }
}

TEST(Sampler, TokensOfProbabilityZeroAreNeverDrawn) {
  std::vector<float> logits(100, -kInfinity);
  logits[64] = -1000;
  logits[99] = -1000;
  Sampler sampler;
  for (const double top_p : {1.0, 0.99}) {
    SamplingOptions options;
    options.top_p = top_p;
    for (Index position = 0; position < 200; ++position) {
      const auto token = sampler.sample({.logits = logits, .position = position}, options);
      EXPECT_TRUE(token == 64 || token == 99);
    }
  }
}

TEST(Sampler, NanAndInfinityAreErrorsThatNameTheLogitEvenUnderAMask) {
  Sampler sampler;
  const std::vector<std::uint32_t> mask = {1};
  for (const float bad : {std::nanf(""), kInfinity}) {
    const std::vector<float> logits = {1, 2, bad};
    for (const bool is_masked : {false, true}) {
      try {
        sampler.sample(
            {.logits = logits, .allowed_tokens = is_masked ? mask : std::vector<std::uint32_t>{}},
            {});
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Internal);
        EXPECT_EQ(std::string(error.what()).rfind("logits[2]:", 0), 0U) << error.what();
      }
    }
    TokenLogprobs result;
    EXPECT_THROW(sampler.logprobs(logits, 0, 1, result), Error);
  }
}

TEST(Logprobs, AreTheLogarithmOfTheFullSoftmax) {
  const auto logits = random_logits(5000, 12);
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit));
  }
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return logits[to_size(a)] > logits[to_size(b)]; });
  Sampler sampler;
  TokenLogprobs result;
  sampler.logprobs(logits, 17, 20, result);
  EXPECT_NEAR(result.logprob, static_cast<double>(logits[17]) - std::log(sum), 1e-6);
  ASSERT_EQ(result.top.size(), 20U);
  for (std::size_t rank = 0; rank < result.top.size(); ++rank) {
    EXPECT_EQ(result.top[rank].id, order[rank]);
    EXPECT_NEAR(result.top[rank].logprob,
                static_cast<double>(logits[to_size(order[rank])]) - std::log(sum), 1e-6);
  }
}

TEST(Logprobs, AreNeverMinusInfinity) {
  const std::vector<float> logits = {0, -kInfinity, -kInfinity};
  Sampler sampler;
  TokenLogprobs result;
  sampler.logprobs(logits, 1, 5, result);
  EXPECT_EQ(result.logprob, kLowestLogprob);
  ASSERT_EQ(result.top.size(), 3U);
  EXPECT_EQ(result.top[0].logprob, 0);
  EXPECT_EQ(result.top[1].id, 1);
  EXPECT_EQ(result.top[1].logprob, kLowestLogprob);
}

}  // namespace
}  // namespace fathom::sampling
