// What must hold bitwise, on any backend: results do not depend on how a sequence was cut into
// steps, on what came after, on other sequences of the step, on threads, or on going back.
#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "fathom/fathom.h"

#include "tests/golden/golden_model.h"

namespace fathom::testing {
namespace {

struct Case {
  std::string checkpoint;
  std::string backend;
  std::string numerics;
  // Keeps every row of its cache, so that going back never needs a replay.
  bool keeps_every_row = false;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* checkpoint : {"flash-tiny", "pro-tiny", "bf16-tiny"}) {
    for (const char* numerics : {"high", "official"}) {
      all.push_back({checkpoint, "cpu", numerics});
    }
  }
  all.push_back({"flash-tiny", "cpu", "fast"});
  all.push_back({"pro-tiny", "cpu", "fast"});
  all.push_back({"flash-tiny", "reference", "official"});
  for (const char* checkpoint : {"llama-tiny", "llama-tied", "llama-tiny.gguf"}) {
    all.push_back({checkpoint, "cpu", "high", true});
  }
  all.push_back({"llama-tiny", "reference", "high", true});
  return all;
}

using Logits = std::vector<float>;

::testing::AssertionResult is_same(const Logits& found, const Logits& expected, Index columns) {
  if (found.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << found.size() << " numbers, expected " << expected.size();
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    // A NaN never matches, not even itself.
    if (!(found[i] == expected[i])) {
      return ::testing::AssertionFailure()
             << "position " << to_index(i) / columns << " token " << to_index(i) % columns << ": "
             << found[i] << ", expected " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}

class Properties : public ::testing::TestWithParam<Case> {
 protected:
  // Small on purpose: most targets are older than the raw rows.
  static constexpr Index kRawTokens = 40;
  static constexpr Index kInterval = 48;

  std::shared_ptr<Model> open(int num_threads = 2, bool is_forgetful = false) const {
    ModelOptions options;
    options.num_threads = num_threads;
    options.backend = GetParam().backend;
    options.numerics = GetParam().numerics;
    if (is_forgetful) {
      options.raw_tokens = kRawTokens;
      options.checkpoint_interval = kInterval;
    }
    return Model::open(golden_folder(GetParam().checkpoint).string(), options);
  }

  // Crosses the closing of a block of 128 and, with 4 tokens a block, the top-k of 16.
  std::vector<TokenId> tokens(Index count = 150, unsigned seed = 1) const {
    std::mt19937 random(seed);
    std::vector<TokenId> drawn(to_size(count));
    std::generate(drawn.begin(), drawn.end(), [&] { return static_cast<TokenId>(random() % 256); });
    return drawn;
  }

  static Logits append(Session& session, std::span<const TokenId> tokens) {
    Logits all;
    session.append(tokens, [&](Index first, Index count, const float* logits) {
      EXPECT_EQ(first * vocab_, to_index(all.size()));
      all.insert(all.end(), logits, logits + count * vocab_);
    });
    return all;
  }
  static std::span<const TokenId> part(const std::vector<TokenId>& all, Index first, Index count) {
    return std::span(all).subspan(to_size(first), to_size(count));
  }
  static Logits rows(const Logits& logits, Index first, Index count) {
    return {logits.begin() + first * vocab_, logits.begin() + (first + count) * vocab_};
  }

  // Opened, and run in one step, once per case.
  void SetUp() override {
    struct Opened {
      std::shared_ptr<Model> model;
      Logits whole;
    };
    static std::map<std::string, Opened> opened;
    Opened& entry = opened[GetParam().checkpoint + GetParam().backend + GetParam().numerics];
    if (entry.model == nullptr) {
      entry.model = open();
      vocab_ = entry.model->facts().vocab_size;
      Session session = entry.model->start();
      entry.whole = append(session, tokens());
    }
    model_ = entry.model;
    vocab_ = model_->facts().vocab_size;
    whole_ = entry.whole;
  }

  std::shared_ptr<Model> model_;
  Logits whole_;  // of tokens(), in one step
  static Index vocab_;
};
Index Properties::vocab_ = 0;

TEST_P(Properties, EverySplitIntoChunksGivesTheSameLogits) {
  std::mt19937 random(2);
  for (const Index largest : {1, 5, 40, 130}) {
    Session session = model_->start();
    Logits all;
    while (session.num_tokens() < 150) {
      const Index count =
          std::min(150 - session.num_tokens(), 1 + static_cast<Index>(random()) % largest);
      const Logits logits = append(session, part(tokens(), session.num_tokens(), count));
      all.insert(all.end(), logits.begin(), logits.end());
    }
    EXPECT_TRUE(is_same(all, whole_, vocab_)) << "chunks up to " << largest;
  }
}

TEST_P(Properties, LaterTokensChangeNothingBefore) {
  auto changed = tokens();
  for (std::size_t i = 90; i < changed.size(); ++i) {
    changed[i] = (changed[i] + 1) % 256;
  }
  Session session = model_->start();
  const Logits logits = append(session, changed);
  EXPECT_TRUE(is_same(rows(logits, 0, 90), rows(whole_, 0, 90), vocab_));
  EXPECT_FALSE(is_same(rows(logits, 90, 1), rows(whole_, 90, 1), vocab_));
}

TEST_P(Properties, ThreadsDoNotChangeAnything) {
  for (const int num_threads : {1, 3}) {
    const auto model = open(num_threads);
    Session session = model->start();
    EXPECT_TRUE(is_same(append(session, tokens()), whole_, vocab_)) << num_threads << " threads";
  }
}

TEST_P(Properties, GoingBackALittleNeedsNoReplayAndContinuesAsFresh) {
  Session session = model_->start();
  append(session, tokens());
  for (const Index target : {149, 128, 127, 37, 0}) {
    Session back = session.fork();
    EXPECT_EQ(back.truncate(target), 0);
    EXPECT_EQ(back.num_tokens(), target);
    const Logits logits = append(back, part(tokens(), target, std::min<Index>(20, 150 - target)));
    EXPECT_TRUE(is_same(logits, rows(whole_, target, to_index(logits.size()) / vocab_), vocab_))
        << target;
  }
}

TEST_P(Properties, GoingBackFarReplaysFromACheckpointAndContinuesAsFresh) {
  const auto model = open(2, true);
  Session session = model->start();
  for (Index first = 0; first < 150; first += 10) {
    append(session, part(tokens(), first, 10));
  }
  Index num_replays = 0;
  for (const Index target : {149, 110, 109, 96, 95, 50, 48, 3}) {
    Session back = session.fork();
    const Index replayed = back.truncate(target);
    EXPECT_EQ(back.num_tokens(), target);
    if (target >= 150 - kRawTokens || target % kInterval == 0) {
      EXPECT_EQ(replayed, 0) << target;
    }
    // Replay starts at a checkpoint, or later where rows happen to be left.
    EXPECT_LE(replayed, target % kInterval) << target;
    num_replays += replayed > 0 ? 1 : 0;
    const Logits logits = append(back, part(tokens(), target, std::min<Index>(12, 150 - target)));
    EXPECT_TRUE(is_same(logits, rows(whole_, target, to_index(logits.size()) / vocab_), vocab_))
        << target;
  }
  EXPECT_EQ(num_replays == 0, GetParam().keeps_every_row);
  // The session that was forked is where it was.
  EXPECT_EQ(session.num_tokens(), 150);
}

TEST_P(Properties, OtherTokensAfterGoingBackGiveWhatAFreshSessionGives) {
  const auto model = open(2, true);
  auto other = tokens(60, 3);
  Session session = model->start();
  append(session, tokens());
  session.truncate(70);
  const Logits continued = append(session, other);
  auto all = tokens(70);
  all.insert(all.end(), other.begin(), other.end());
  EXPECT_EQ(session.tokens(), all);
  Session fresh = model_->start();
  EXPECT_TRUE(is_same(continued, rows(append(fresh, all), 70, 60), vocab_));
}

TEST_P(Properties, ForkIsACopyAndTheTwoGoOnIndependently) {
  Session left = model_->start();
  append(left, part(tokens(), 0, 70));
  Session right = left.fork();
  const auto other = tokens(20, 4);
  append(right, other);
  // In turn, so that each could disturb the other.
  Logits logits;
  for (Index first = 70; first < 150; first += 20) {
    const Logits added = append(left, part(tokens(), first, 20));
    logits.insert(logits.end(), added.begin(), added.end());
    append(right, part(other, 0, 5));
  }
  EXPECT_TRUE(is_same(logits, rows(whole_, 70, 80), vocab_));
  auto all = tokens(70);
  all.insert(all.end(), other.begin(), other.end());
  Session fresh = model_->start();
  append(fresh, all);
  right.truncate(90);
  EXPECT_TRUE(is_same(append(right, part(other, 0, 3)), append(fresh, part(other, 0, 3)), vocab_));
}

TEST_P(Properties, FailedAppendLeavesTheSessionAsItWas) {
  Session session = model_->start();
  append(session, part(tokens(), 0, 133));
  const std::vector<TokenId> bad = {1, 2, static_cast<TokenId>(vocab_)};
  EXPECT_THROW(session.append(bad), Error);
  EXPECT_THROW(session.append(part(tokens(), 0, 0)), Error);
  EXPECT_THROW(session.append(part(tokens(), 133, 9),
                              [](Index, Index, const float*) { throw std::runtime_error("sink"); }),
               std::runtime_error);
  EXPECT_EQ(session.num_tokens(), 133);
  EXPECT_TRUE(is_same(append(session, part(tokens(), 133, 17)), rows(whole_, 133, 17), vocab_));
}

TEST_P(Properties, SessionsAppendedTogetherGiveWhatEachGivesAlone) {
  // Steps of two sessions: three do not fit into one.
  ModelOptions options;
  options.num_threads = 2;
  options.backend = GetParam().backend;
  options.numerics = GetParam().numerics;
  options.step_tokens = 2;
  const auto model = Model::open(golden_folder(GetParam().checkpoint).string(), options);
  std::vector<Session> together;
  std::vector<Session*> pointers;
  for (const Index before : {0, 61, 130}) {
    together.push_back(model->start());
    if (before > 0) {
      append(together.back(), tokens(before, static_cast<unsigned>(before)));
    }
  }
  std::vector<Session> alone;
  for (Session& session : together) {
    pointers.push_back(&session);
    alone.push_back(session.fork());
  }
  for (const TokenId step : {7, 11, 13, 17}) {
    const std::vector<TokenId> next = {step, step + 1, step + 2};
    Logits found;
    Session::append_each(pointers, next, [&](Index first, Index count, const float* logits) {
      EXPECT_EQ(first * vocab_, to_index(found.size()));
      found.insert(found.end(), logits, logits + count * vocab_);
    });
    Logits expected;
    for (std::size_t idx = 0; idx < alone.size(); ++idx) {
      const Logits logits = alone[idx].append({&next[idx], 1});
      expected.insert(expected.end(), logits.begin(), logits.end());
      EXPECT_EQ(together[idx].tokens(), alone[idx].tokens());
    }
    EXPECT_TRUE(is_same(found, expected, vocab_)) << "step of " << step;
  }
}

TEST_P(Properties, FailedAppendTogetherLeavesEverySessionAsItWas) {
  std::vector<Session> sessions;
  std::vector<Session*> pointers;
  for (const Index before : {133, 20}) {
    sessions.push_back(model_->start());
    append(sessions.back(), part(tokens(), 0, before));
  }
  for (Session& session : sessions) {
    pointers.push_back(&session);
  }
  const std::vector<TokenId> good = {tokens()[133], tokens()[20]};
  const LogitsSink ignore = [](Index, Index, const float*) {};
  const auto refused = [&](std::vector<Session*> which, std::vector<TokenId> what) {
    EXPECT_THROW(Session::append_each(which, what, ignore), Error);
  };
  refused({}, {});
  refused({pointers[0]}, good);
  refused({pointers[0], pointers[0]}, good);
  refused(pointers, {1, static_cast<TokenId>(vocab_)});
  Session foreign = open()->start();
  refused({pointers[0], &foreign}, good);
  EXPECT_THROW(
      Session::append_each(pointers, good,
                           [](Index, Index, const float*) { throw std::runtime_error("sink"); }),
      std::runtime_error);
  EXPECT_EQ(sessions[0].num_tokens(), 133);
  EXPECT_EQ(sessions[1].num_tokens(), 20);
  Session::append_each(pointers, good, [&](Index first, Index count, const float* logits) {
    ASSERT_EQ(first, 0);
    ASSERT_EQ(count, 2);
    const Logits both(logits, logits + 2 * vocab_);
    EXPECT_TRUE(is_same(rows(both, 0, 1), rows(whole_, 133, 1), vocab_));
    EXPECT_TRUE(is_same(rows(both, 1, 1), rows(whole_, 20, 1), vocab_));
  });
}

TEST_P(Properties, ChosenExpertsAreToldLayerByLayer) {
  ModelOptions options;
  options.num_threads = 2;
  options.backend = GetParam().backend;
  options.numerics = GetParam().numerics;
  std::vector<Index> layers;
  options.on_experts = [&](Index layer_idx, std::span<const std::int32_t> ids) {
    layers.push_back(layer_idx);
    EXPECT_EQ(ids.size() % 3, 0U);
    EXPECT_TRUE(std::all_of(ids.begin(), ids.end(), [](std::int32_t id) { return id >= 0; }));
  };
  const auto model = Model::open(golden_folder(GetParam().checkpoint).string(), options);
  Session session = model->start();
  append(session, part(tokens(), 0, 3));
  const bool has_experts = model->facts().family == "deepseek_v4";
  ASSERT_EQ(to_index(layers.size()), has_experts ? model->facts().num_layers : 0);
  for (std::size_t idx = 0; idx < layers.size(); ++idx) {
    EXPECT_EQ(layers[idx], to_index(idx));
  }
}

// The batch that an engine makes: sequences of different lengths and positions in one step.
TEST_P(Properties, SequencesOfOneStepDoNotSeeEachOther) {
  const auto numerics = *ops::numerics_from_name(GetParam().numerics);
  GoldenModel model(GetParam().checkpoint, GetParam().backend, numerics);
  struct Sequence {
    Index before;
    Index count;
  };
  const Sequence sequences[] = {{0, 33}, {130, 1}, {61, 5}};
  std::vector<std::int32_t> batch_tokens;
  std::vector<Index> counts;
  std::vector<kv::SequenceCache> caches;
  std::vector<double> expected;
  unsigned seed = 10;
  for (const auto& [before, count] : sequences) {
    const auto all = tokens(before + count, seed++);
    const std::vector<std::int32_t> tail(all.end() - count, all.end());
    const std::vector<std::int32_t> head(all.begin(), all.end() - count);
    caches.push_back(model.cache());
    model.logits(head, 0, caches.back());
    kv::SequenceCache alone = caches.back();
    const auto logits = model.logits(tail, 0, alone);
    expected.insert(expected.end(), logits.begin(), logits.end());
    batch_tokens.insert(batch_tokens.end(), tail.begin(), tail.end());
    counts.push_back(count);
  }
  std::vector<kv::KvStore*> stores;
  for (kv::SequenceCache& cache : caches) {
    stores.push_back(&cache);
  }
  const tensor::Arena::Scope scope(model.context().arena);
  const auto hidden =
      layers::run_step(model.lm(), model.context(),
                       layers::TokenBatch::of(model.context().arena, batch_tokens, counts, stores));
  std::vector<double> found;
  GoldenModel::append_values(model.lm().logits(model.context(), hidden), found);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(found[i] == expected[i])
        << "row " << to_index(i) / vocab_ << ": " << found[i] << ", alone " << expected[i];
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    EXPECT_EQ(caches[i].num_tokens(), sequences[i].before + sequences[i].count);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Properties, ::testing::ValuesIn(cases()), [](const auto& test) {
  std::string name = test.param.checkpoint + "_" + test.param.backend + "_" + test.param.numerics;
  std::replace_if(
      name.begin(), name.end(), [](char letter) { return letter == '-' || letter == '.'; }, '_');
  return name;
});

}  // namespace
}  // namespace fathom::testing
