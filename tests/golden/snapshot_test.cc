// A sequence restored from a file goes on with bitwise the logits of the one that was written, on
// its whole length, from older positions, and from a thinned file.
#include <gtest/gtest.h>

#include "fathom/model/kv/snapshot_file.h"

#include "tests/golden/golden_model.h"
#include "tests/support/temp_dir.h"

namespace fathom::testing {
namespace {

struct Case {
  const char* checkpoint;
  const char* backend;
  ops::Numerics numerics;
};

class Snapshots : public ::testing::TestWithParam<Case> {
 protected:
  // Small on purpose: most positions are older than the raw rows.
  static constexpr kv::CacheOptions kForgetful = {.raw_tokens = 40, .checkpoint_interval = 48};

  kv::SequenceCache empty() {
    return {model_.lm().cache_layout(), model_.context().cache_dtype(), kForgetful};
  }

  // Logits of the tokens after the first `from`, in steps of 40.
  std::vector<double> logits_after(kv::SequenceCache cache, Index from) {
    return model_.logits({tokens_.begin() + from, tokens_.end()}, 40, cache);
  }

  ::testing::AssertionResult is_same(const std::vector<double>& found,
                                     const std::vector<double>& expected) {
    if (found.size() != expected.size()) {
      return ::testing::AssertionFailure() << found.size() << " of " << expected.size();
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!(found[i] == expected[i])) {
        return ::testing::AssertionFailure()
               << "logit " << i << " is " << found[i] << ", expected " << expected[i];
      }
    }
    return ::testing::AssertionSuccess();
  }

  // Saves what the cache holds of the first tokens, and compares going on from each position of the
  // file with the logits of all tokens computed at once.
  void compare(const kv::SequenceCache& cache, const std::vector<Index>& positions) {
    kv::SnapshotImage({.fingerprint = "golden"},
                      {tokens_.begin(), tokens_.begin() + cache.num_tokens()}, cache)
        .write(folder_ / "a");
    const kv::SnapshotFile file(folder_ / "a");
    for (const Index position : positions) {
      kv::SequenceCache restored = empty();
      file.restore(position, restored);
      const auto first = whole_.begin() + position * model_.config().vocab_size;
      EXPECT_TRUE(is_same(logits_after(restored, position), {first, whole_.end()}))
          << "restored " << position << " of " << cache.num_tokens() << " tokens";
    }
  }

  GoldenModel model_{GetParam().checkpoint, GetParam().backend, GetParam().numerics};
  test::TempDir folder_;
  std::vector<std::int32_t> tokens_;
  std::vector<double> whole_;  // logits of all tokens

  void SetUp() override {
    // Crosses the closing of a block of 128.
    for (Index i = 0; i < 150; ++i) {
      tokens_.push_back(static_cast<std::int32_t>((i * i * 31 + 7) % model_.config().vocab_size));
    }
    kv::SequenceCache cache = empty();
    whole_ = model_.logits(tokens_, 0, cache);
  }
};

TEST_P(Snapshots, GoOnBitwiseFromEveryKindOfPosition) {
  kv::SequenceCache cache = empty();
  model_.logits({tokens_.begin(), tokens_.begin() + 131}, 32, cache);
  compare(cache, {131, 130, 127, 96});
  compare(cache.thinned({}), {131, 96, 48});
}

TEST_P(Snapshots, ARestoredSequenceReplaysOlderTargetsBitwise) {
  kv::SequenceCache cache = empty();
  model_.logits({tokens_.begin(), tokens_.begin() + 140}, 32, cache);
  kv::SnapshotImage({.fingerprint = "golden"}, {tokens_.begin(), tokens_.begin() + 140}, cache)
      .write(folder_ / "a");
  kv::SequenceCache restored = empty();
  kv::SnapshotFile(folder_ / "a").restore(140, restored);
  for (const Index target : {139, 101, 77, 20}) {
    kv::SequenceCache back = restored;
    kv::SequenceCache expected = cache;
    const Index resumed = back.truncate(target);
    EXPECT_EQ(resumed, expected.truncate(target));
    const auto first = whole_.begin() + resumed * model_.config().vocab_size;
    EXPECT_TRUE(is_same(logits_after(back, resumed), {first, whole_.end()})) << target;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryKindOfCache,
                         Snapshots,
                         ::testing::Values(Case{"flash-tiny", "cpu", ops::Numerics::High},
                                           Case{"pro-tiny", "cpu", ops::Numerics::Fast},
                                           Case{"flash-tiny", "reference:f64", ops::Numerics::High},
                                           Case{"llama-tiny", "cpu", ops::Numerics::High}),
                         [](const auto& item) {
                           std::string name =
                               std::string(item.param.checkpoint) + "_" + item.param.backend;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return c == '-' || c == ':'; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace fathom::testing
