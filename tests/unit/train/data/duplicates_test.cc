#include "fathom/train/data/duplicates.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

TEST(ExactDuplicates, FindWhatASetFinds) {
  std::mt19937_64 random(1);
  test::TempDir folder;
  ExactDuplicates duplicates(folder / "a", 0);
  std::set<Hash128> expected;
  for (int i = 0; i < 60'000; ++i) {
    // Half of them come again.
    const Hash128 hash = {.low = 1, .high = random() % 40'000 * 0x9e3779b97f4a7c15ULL};
    ASSERT_EQ(duplicates.add(hash), expected.insert(hash).second);
  }
  EXPECT_EQ(duplicates.num_texts(), to_index(expected.size()));
}

TEST(ExactDuplicates, GoOnFromTheirFile) {
  test::TempDir folder;
  {
    ExactDuplicates duplicates(folder / "a", 0);
    for (std::uint64_t i = 1; i <= 20'000; ++i) {
      EXPECT_TRUE(duplicates.add({.low = i, .high = i * 7919}));
    }
    duplicates.sync();
  }
  ExactDuplicates duplicates(folder / "a", 15'000);
  EXPECT_EQ(duplicates.num_texts(), 15'000);
  EXPECT_FALSE(duplicates.add({.low = 15'000, .high = 15'000 * 7919}));
  EXPECT_TRUE(duplicates.add({.low = 15'001, .high = 15'001 * 7919}));
}

std::vector<std::uint64_t> random_words(std::mt19937_64& random, std::size_t count) {
  std::vector<std::uint64_t> words(count);
  for (std::uint64_t& word : words) {
    word = random();
  }
  return words;
}

TEST(NearDuplicates, FindTextsThatAreAlikeAndNoOthers) {
  for (const double threshold : {0.6, 0.8}) {
    std::mt19937_64 random(1);
    test::TempDir folder;
    NearDuplicates duplicates(folder / "a", 0, threshold);
    std::vector<std::vector<std::uint64_t>> texts;
    for (int i = 0; i < 4200; ++i) {  // more than the first table holds
      texts.push_back(random_words(random, 204));
      ASSERT_TRUE(duplicates.add(signature_of(texts.back())));
    }
    int num_found = 0;
    int num_wrong = 0;
    constexpr int kTrials = 200;
    for (int i = 0; i < kTrials; ++i) {
      // 200 shingles, of which `kept` remain: Jaccard = kept / (400 - kept).
      const auto alike = [&](double jaccard) {
        std::vector<std::uint64_t> text = texts[random() % texts.size()];
        const auto kept = static_cast<std::size_t>(400 * jaccard / (1 + jaccard));
        for (std::size_t at = kept + 4; at < text.size(); ++at) {
          text[at] = random();
        }
        return signature_of(text);
      };
      num_found += duplicates.add(alike(threshold + 0.6 * (1 - threshold))) ? 0 : 1;
      num_wrong += duplicates.add(alike(threshold - 0.25)) ? 0 : 1;
    }
    EXPECT_GE(num_found, kTrials * 95 / 100) << threshold;
    EXPECT_EQ(num_wrong, 0) << threshold;
  }
}

TEST(NearDuplicates, GoOnFromTheirFile) {
  std::mt19937_64 random(1);
  test::TempDir folder;
  std::vector<Signature> signatures;
  {
    NearDuplicates duplicates(folder / "a", 0, 0.8);
    for (int i = 0; i < 100; ++i) {
      signatures.push_back(signature_of(random_words(random, 100)));
      EXPECT_TRUE(duplicates.add(signatures.back()));
    }
    duplicates.sync();
  }
  NearDuplicates duplicates(folder / "a", 60, 0.8);
  EXPECT_FALSE(duplicates.add(signatures[59]));
  EXPECT_TRUE(duplicates.add(signatures[60]));
  EXPECT_EQ(duplicates.num_texts(), 61);
}

TEST(NearDuplicates, ThresholdIsAShare) {
  test::TempDir folder;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "found 0.3, expected 0.5 to 1",
                         [&] { NearDuplicates(folder / "a", 0, 0.3); }));
}

}  // namespace
}  // namespace fathom::data
