#include "fathom/train/data/min_hash.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::data {
namespace {

using Words = std::vector<std::uint64_t>;

Words random_words(std::mt19937_64& random, Index count) {
  Words words(to_size(count));
  for (std::uint64_t& word : words) {
    word = random();
  }
  return words;
}

// Two texts that share their first `shared` words: the Jaccard index of their shingles is known,
// since all words are different.
double expected_likeness(Index shared, Index total) {
  const auto both = static_cast<double>(shared - kShingleWords + 1);
  return both / (2.0 * static_cast<double>(total - kShingleWords + 1) - both);
}

TEST(MinHash, EstimatesTheJaccardIndex) {
  std::mt19937_64 random(1);
  constexpr Index kWords = 400;
  constexpr int kTrials = 60;
  for (const Index shared : {100, 250, 350, 390}) {
    const double expected = expected_likeness(shared, kWords);
    double sum = 0;
    double sum_of_squares = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      const Words left = random_words(random, kWords);
      Words right = random_words(random, kWords);
      std::copy_n(left.begin(), shared, right.begin());
      const double found = likeness(signature_of(left), signature_of(right));
      sum += found;
      sum_of_squares += (found - expected) * (found - expected);
    }
    const double deviation = std::sqrt(expected * (1 - expected) / 128);
    EXPECT_NEAR(sum / kTrials, expected, 4 * deviation / std::sqrt(kTrials)) << shared;
    EXPECT_NEAR(std::sqrt(sum_of_squares / kTrials), deviation, 0.4 * deviation) << shared;
  }
}

TEST(MinHash, EqualTextsAgreeAndStrangersDoNot) {
  std::mt19937_64 random(2);
  const Words text = random_words(random, 50);
  EXPECT_EQ(likeness(signature_of(text), signature_of(text)), 1.0);
  EXPECT_LE(likeness(signature_of(text), signature_of(random_words(random, 50))), 0.03);
}

TEST(MinHash, TextsShorterThanAShingleAreOne) {
  const Words three = {1, 2, 3};
  EXPECT_EQ(likeness(signature_of(three), signature_of(three)), 1.0);
  EXPECT_LE(likeness(signature_of(three), signature_of(Words{1, 2, 4})), 0.03);
  EXPECT_EQ(likeness(signature_of({}), signature_of({})), 1.0);
}

// Large sets have small least hashes: their numbers must differ all the same.
TEST(MinHash, LongTextsAreToldApart) {
  std::mt19937_64 random(3);
  EXPECT_LE(likeness(signature_of(random_words(random, 70'000)),
                     signature_of(random_words(random, 70'000))),
            0.03);
}

}  // namespace
}  // namespace fathom::data
