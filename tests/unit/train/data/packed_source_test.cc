#include "fathom/train/data/packed_source.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/train/data/shard_testing.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;
using testing::Document;
using testing::random_documents;
using testing::write_shard;

constexpr Index kVocabulary = 1'000'000;

// A target as it is told apart from every other: its document begins with a token of its own.
using Target = std::tuple<std::int32_t, std::int32_t, float>;  // token, target, loss weight

// Documents whose tokens are all different, so that every target is.
std::vector<Document> distinct_documents(std::mt19937_64& random,
                                         Index count,
                                         Index longest,
                                         std::int32_t& next_token) {
  std::vector<Document> documents = random_documents(random, count, longest, 2, true);
  for (Document& document : documents) {
    for (std::int32_t& token : document.tokens) {
      token = next_token++;
    }
  }
  return documents;
}

std::multiset<Target> targets_of(const std::vector<Document>& documents) {
  std::multiset<Target> targets;
  for (const Document& document : documents) {
    for (std::size_t i = 1; i < document.tokens.size(); ++i) {
      targets.emplace(document.tokens[i - 1], document.tokens[i], document.counts[i]);
    }
  }
  return targets;
}

std::vector<Batch> take(BatchSource& source, Index count) {
  std::vector<Batch> batches;
  for (Index i = 0; i < count; ++i) {
    batches.push_back(source.next());
  }
  return batches;
}

bool are_equal(const Batch& left, const Batch& right) {
  return left.tokens == right.tokens && left.targets == right.targets &&
         left.loss_weights == right.loss_weights && left.piece_tokens == right.piece_tokens;
}

struct Written {
  test::TempDir folder;
  std::vector<Document> documents;
  DataSet set;
};

// Three shards of documents of 2 to `longest` tokens.
void write(Written& written, Index longest, std::int32_t first_token = 0) {
  std::mt19937_64 random(static_cast<std::uint64_t>(longest));
  for (const Index count : {40, 1, 30}) {
    const auto documents = distinct_documents(random, count, longest, first_token);
    const auto path = written.folder / ("shard-" + std::to_string(written.set.shards.size()));
    write_shard(path, documents, kVocabulary);
    written.set.shards.push_back(path);
    written.documents.insert(written.documents.end(), documents.begin(), documents.end());
  }
  written.set.name = "set";
}

TEST(PackedSource, AnEpochHasEveryTargetOfEveryDocumentOnce) {
  for (const Index longest : {2, 9, 300}) {
    Written written;
    write(written, longest);
    // A batch of one token: an epoch ends with a batch.
    PackedSource source({written.set}, {.sequence_tokens = 1});
    const auto expected = targets_of(written.documents);
    EXPECT_EQ(source.num_documents(), 71);
    ASSERT_EQ(source.num_tokens(), to_index(expected.size()));
    for (int epoch = 0; epoch < 3; ++epoch) {
      std::multiset<Target> found;
      for (const Batch& batch : take(source, source.num_tokens())) {
        found.emplace(batch.tokens[0], batch.targets[0], batch.loss_weights[0]);
      }
      EXPECT_EQ(found, expected);
    }
    EXPECT_EQ(source.epochs_done(0), 3.0);
  }
}

TEST(PackedSource, SequencesOfAnyLengthHoldTheSameTargetsInTheSameOrder) {
  Written written;
  write(written, 50);
  PackedSource single({written.set}, {.sequence_tokens = 1, .seed = 3});
  std::vector<std::int32_t> tokens;
  for (const Batch& batch : take(single, 3 * 7 * 40)) {
    tokens.push_back(batch.tokens[0]);
  }
  for (const PackedOptions& options : {PackedOptions{.sequence_tokens = 7, .num_sequences = 3},
                                       PackedOptions{.sequence_tokens = 21, .num_sequences = 1}}) {
    PackedOptions seeded = options;
    seeded.seed = 3;
    PackedSource source({written.set}, seeded);
    std::vector<std::int32_t> packed;
    for (const Batch& batch : take(source, 40)) {
      packed.insert(packed.end(), batch.tokens.begin(), batch.tokens.end());
    }
    EXPECT_EQ(packed, tokens);
  }
}

TEST(PackedSource, PiecesAreConsecutivePartsOfDocumentsWithinASequence) {
  Written written;
  write(written, 40);
  std::map<std::int32_t, std::int32_t> follower;
  std::set<std::int32_t> last;  // tokens that end a document
  for (const Document& document : written.documents) {
    last.insert(document.tokens.back());
    for (std::size_t i = 1; i < document.tokens.size(); ++i) {
      follower[document.tokens[i - 1]] = document.tokens[i];
    }
  }
  PackedSource source({written.set}, {.sequence_tokens = 16, .num_sequences = 4});
  for (const Batch& batch : take(source, 60)) {
    ASSERT_EQ(batch.num_tokens(), 64);
    Index at = 0;
    for (const Index size : batch.piece_tokens) {
      ASSERT_GE(size, 1);
      EXPECT_EQ(at / 16, (at + size - 1) / 16) << "a piece in two sequences";
      for (Index i = at; i < at + size; ++i) {
        EXPECT_EQ(batch.targets[to_size(i)], follower.at(batch.tokens[to_size(i)]));
        if (i + 1 < at + size) {
          EXPECT_EQ(batch.tokens[to_size(i + 1)], batch.targets[to_size(i)]);
        }
      }
      at += size;
      // A piece ends where its document or its sequence does.
      EXPECT_TRUE(at % 16 == 0 || last.contains(batch.targets[to_size(at - 1)]));
    }
    EXPECT_EQ(at, 64);
  }
}

TEST(PackedSource, RestoredAnywhereItGoesOnAsIfItHadNeverStopped) {
  Written first;
  Written second;
  write(first, 30);
  write(second, 200, 500'000);
  first.set.weight = 3;
  second.set.weight = 1;
  const PackedOptions options = {.sequence_tokens = 13, .num_sequences = 2, .seed = 9};
  const std::vector<DataSet> sets = {first.set, second.set};
  PackedSource whole(sets, options);
  std::vector<std::string> states;
  std::vector<Batch> batches;
  for (int i = 0; i < 120; ++i) {
    states.push_back(whole.state());
    batches.push_back(whole.next());
  }
  PackedSource reused(sets, options);
  for (const std::size_t at : {0U, 1U, 2U, 17U, 63U, 64U, 65U, 90U, 117U, 3U}) {
    PackedSource fresh(sets, options);
    for (PackedSource* source : {&fresh, &reused}) {
      source->restore(states[at]);
      EXPECT_EQ(source->state(), states[at]);
      for (std::size_t i = at; i < at + 3; ++i) {
        EXPECT_TRUE(are_equal(source->next(), batches[i])) << at << " " << i;
      }
    }
  }
  EXPECT_LT(states.back().size(), 300U);
}

TEST(PackedSource, WeightsAreSharesOfTheTokens) {
  Written small;
  Written large;
  write(small, 30);
  write(large, 300, 500'000);
  small.set.weight = 0.75;
  large.set.weight = 0.25;
  PackedSource source({small.set, large.set}, {.sequence_tokens = 100});
  Index num_small = 0;
  constexpr Index kBatches = 300;
  for (const Batch& batch : take(source, kBatches)) {
    num_small += std::count_if(batch.tokens.begin(), batch.tokens.end(),
                               [](std::int32_t token) { return token < 500'000; });
  }
  // Off by at most one document of each set.
  EXPECT_NEAR(static_cast<double>(num_small), 0.75 * 100 * kBatches, 330);
}

TEST(PackedSource, SetsWithoutWeightsEndTheirEpochsTogether) {
  Written small;
  Written large;
  write(small, 30);
  write(large, 300, 500'000);
  PackedSource source({small.set, large.set}, {.sequence_tokens = 1});
  take(source, source.num_tokens());
  EXPECT_EQ(source.epochs_done(0), 1.0);
  EXPECT_EQ(source.epochs_done(1), 1.0);
}

TEST(PackedSource, ValidationDocumentsAreNeverTrainedOn) {
  Written written;
  write(written, 30);
  written.set.validation_share = 0.3;
  PackedSource train({written.set}, {.sequence_tokens = 1});
  PackedSource validation({written.set}, {.sequence_tokens = 1, .split = Split::Validation});
  EXPECT_EQ(train.num_documents() + validation.num_documents(), 71);
  EXPECT_NEAR(static_cast<double>(validation.num_documents()), 0.3 * 71, 15);
  std::multiset<Target> found;
  for (PackedSource* source : {&train, &validation}) {
    for (const Batch& batch : take(*source, source->num_tokens())) {
      found.emplace(batch.tokens[0], batch.targets[0], batch.loss_weights[0]);
    }
  }
  EXPECT_EQ(found, targets_of(written.documents));
}

TEST(PackedSource, ShareOfValidationIsAsAskedFor) {
  std::mt19937_64 random(1);
  for (const double share : {0.0, 0.01, 0.5}) {
    Index count = 0;
    for (int i = 0; i < 100'000; ++i) {
      count += is_validation(random(), share) ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(count), 100'000 * share, 5 * 160);
  }
}

TEST(PackedSource, StateOfOtherDataOrSettingsIsRefused) {
  Written written;
  write(written, 30);
  PackedSource source({written.set}, {.sequence_tokens = 8, .seed = 1});
  const auto refuses = [&](const std::string& state, const std::string& part) {
    return fails_with(ErrorCode::InvalidArgument, part, [&] { source.restore(state); });
  };
  PackedSource other_seed({written.set}, {.sequence_tokens = 8, .seed = 2});
  EXPECT_TRUE(refuses(other_seed.state(), "state of the data: stream: found"));
  DataSet fewer = written.set;
  fewer.shards.pop_back();
  PackedSource other_data({fewer}, {.sequence_tokens = 8, .seed = 1});
  EXPECT_TRUE(refuses(other_data.state(), "it belongs to other shards"));
  EXPECT_TRUE(refuses("{", "state of the data"));
  std::string state = source.state();
  state.replace(state.find("\"next\":0"), 8, "\"next\":72");
  EXPECT_TRUE(refuses(state, "sets[0].next"));
}

TEST(PackedSource, WhatCannotBeMixedIsRefused) {
  Written written;
  write(written, 30);
  test::TempDir folder;
  std::mt19937_64 random(1);
  write_shard(folder / "b", random_documents(random, 3, 9, 10, false), kVocabulary, {.low = 1});
  const DataSet foreign = {.name = "b", .shards = {folder / "b"}};
  const auto refuses = [&](const std::vector<DataSet>& sets, const PackedOptions& options,
                           const std::string& part) {
    return fails_with(ErrorCode::InvalidArgument, part, [&] { PackedSource(sets, options); });
  };
  EXPECT_TRUE(refuses({written.set, foreign}, {}, "found a tokenizer of 1000000 tokens"));
  EXPECT_TRUE(refuses({written.set}, {.split = Split::Validation}, "found no document for valid"));
  EXPECT_TRUE(refuses({}, {}, "no data set"));
  EXPECT_TRUE(refuses({written.set}, {.sequence_tokens = 0}, "0 tokens, expected 1 to"));
  DataSet weightless = written.set;
  weightless.weight = 0;
  EXPECT_TRUE(refuses({weightless}, {}, "set: weight: found 0, expected a number above 0"));
}

}  // namespace
}  // namespace fathom::data
