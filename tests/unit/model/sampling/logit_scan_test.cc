#include "fathom/model/sampling/logit_scan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace fathom::sampling {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(Index count, std::uint64_t seed, bool has_ties) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(to_size(count));
  std::generate(logits.begin(), logits.end(), [&] {
    const float value = normal(random);
    return has_ties ? std::round(value) : value;
  });
  return logits;
}

TEST(ExpOfNegative, IsWithinThreeInTenMillionOfExp) {
  for (float x = 0; x > -87; x -= 0.00137F) {
    const double expected = std::exp(static_cast<double>(x));
    const double error = std::abs(static_cast<double>(exp_of_negative(x)) - expected) / expected;
    ASSERT_TRUE(error <= 3e-7) << x << ": " << error;
  }
  EXPECT_EQ(exp_of_negative(0), 1.0F);
  EXPECT_EQ(exp_of_negative(-88), 0.0F);
  EXPECT_EQ(exp_of_negative(-kInfinity), 0.0F);
}

TEST(FindMaxima, SeesBadValuesWhereverTheyAre) {
  for (const Index place : {0, 63, 64, 129}) {
    for (const float bad : {std::nanf(""), kInfinity}) {
      std::vector<float> logits(130, 1);
      BlockMaxima maxima;
      find_maxima(logits, maxima);
      EXPECT_FALSE(maxima.has_bad);
      logits[to_size(place)] = bad;
      find_maxima(logits, maxima);
      EXPECT_TRUE(maxima.has_bad) << place;
    }
  }
}

TEST(Argmax, TakesTheLowestIdOfEquals) {
  std::vector<float> logits(300, 0);
  logits[200] = 5;
  logits[70] = 5;
  logits[71] = 5;
  BlockMaxima maxima;
  find_maxima(logits, maxima);
  EXPECT_EQ(argmax(logits, maxima), 70);
}

TEST(SumExp, AgreesWithASumInDouble) {
  for (const Index count : {1, 63, 64, 65, 5000}) {
    const auto logits = random_logits(count, 3, false);
    BlockMaxima maxima;
    find_maxima(logits, maxima);
    std::vector<double> block_sums;
    const double sum = sum_exp(logits, maxima.of_all, 0.5F, block_sums);
    double expected = 0;
    for (const float logit : logits) {
      expected += std::exp(static_cast<double>(logit - maxima.of_all) * 0.5);
    }
    EXPECT_TRUE(std::abs(sum / expected - 1) <= 5e-7) << count;
  }
}

TEST(CollectLargest, EqualsASortWithTiesToTheLowerId) {
  for (const bool has_ties : {false, true}) {
    for (const Index count : {1, 64, 1000}) {
      const auto logits = random_logits(count, 11, has_ties);
      std::vector<TokenId> order(logits.size());
      for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = static_cast<TokenId>(i);
      }
      std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
        return logits[to_size(a)] > logits[to_size(b)];
      });
      BlockMaxima maxima;
      find_maxima(logits, maxima);
      std::vector<Candidate> found;
      for (Index k = 1; k <= count; k += 1 + k / 3) {
        collect_largest(logits, maxima, k, found);
        std::vector<TokenId> expected(order.begin(), order.begin() + k);
        std::sort(expected.begin(), expected.end());
        std::vector<TokenId> ids;
        for (const Candidate& candidate : found) {
          ids.push_back(candidate.id);
        }
        ASSERT_EQ(ids, expected) << count << " " << k;
      }
    }
  }
}

TEST(CollectAtLeast, KeepsTheOrderOfIds) {
  const auto logits = random_logits(1000, 5, false);
  BlockMaxima maxima;
  find_maxima(logits, maxima);
  std::vector<Candidate> found;
  collect_at_least(logits, maxima, 2, found);
  std::size_t next = 0;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] >= 2) {
      ASSERT_LT(next, found.size());
      EXPECT_EQ(found[next++].id, static_cast<TokenId>(id));
    }
  }
  EXPECT_EQ(next, found.size());
}

TEST(KeepMass, KeepsTheFewestThatReachTheMass) {
  const auto candidates_of = [](const std::vector<std::uint64_t>& weights) {
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      candidates.push_back({.id = static_cast<TokenId>(i),
                            .weight = weights[i],
                            .key = -static_cast<double>(weights[i])});
    }
    return candidates;
  };
  const auto kept = [&](double mass) {
    std::vector<Candidate> scratch;
    auto candidates = candidates_of({10, 30, 20, 30, 10});
    keep_mass(candidates, mass, scratch);
    std::vector<TokenId> ids;
    for (const Candidate& candidate : candidates) {
      ids.push_back(candidate.id);
    }
    return ids;
  };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(kept(0), (Ids{1}));
  EXPECT_EQ(kept(30), (Ids{1}));
  EXPECT_EQ(kept(31), (Ids{1, 3}));
  EXPECT_EQ(kept(80), (Ids{1, 2, 3}));
  EXPECT_EQ(kept(81), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(kept(1000), (Ids{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace fathom::sampling
