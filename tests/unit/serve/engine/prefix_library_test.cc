// Caches are filled with the tokens themselves, so that what a fork holds can be read.
#include "fathom/serve/engine/prefix_library.h"

#include <map>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

using config::CacheStream;
using Tokens = std::vector<TokenId>;

const std::vector<CacheStream>& layout() {
  static const std::vector<CacheStream> kLayout = {{.layer_idx = 0,
                                                    .kind = config::StreamKind::Window,
                                                    .width = 1,
                                                    .tokens_per_row = 1,
                                                    .lookback_tokens = 3,
                                                    .block_tokens = 0,
                                                    .overlap_tokens = 0}};
  return kLayout;
}

// Remembers the last 20 tokens, and what goes on from every 32nd.
constexpr kv::CacheOptions kForgetful = {.raw_tokens = 20, .checkpoint_interval = 32};

void append(SequenceCaches& caches, const Tokens& tokens) {
  for (const TokenId token : tokens) {
    auto number = static_cast<float>(token);
    caches.model.append(0, {&number, tensor::DType::F32, {1, 1}});
    caches.model.commit(1);
  }
}

SequenceCaches caches_of(const Tokens& tokens,
                         const std::shared_ptr<kv::PagePool>& pool = nullptr,
                         const kv::CacheOptions& options = kForgetful) {
  SequenceCaches caches = {.model = {layout(), tensor::DType::F32, options, pool}};
  append(caches, tokens);
  return caches;
}

Tokens tokens_of(Index count, TokenId last = 0) {
  Tokens tokens(to_size(count), 7);
  for (Index idx = 0; idx < count; ++idx) {
    tokens[to_size(idx)] = static_cast<TokenId>(idx % 100);
  }
  if (last != 0) {
    tokens.back() = last;
  }
  return tokens;
}

TEST(CommonPrefix, EndsAtTheFirstDifferenceOrAtTheShorterEnd) {
  EXPECT_EQ(common_prefix(Tokens{1, 2, 3}, Tokens{1, 2, 4}), 2);
  EXPECT_EQ(common_prefix(Tokens{1, 2}, Tokens{1, 2, 4}), 2);
  EXPECT_EQ(common_prefix(Tokens{}, Tokens{1}), 0);
}

TEST(PrefixLibrary, FindsTheLongestCommonBeginningOfItsScope) {
  PrefixLibrary library(10);
  library.insert("a", tokens_of(10, 99), caches_of(tokens_of(10, 99)));
  library.insert("a", tokens_of(15, 99), caches_of(tokens_of(15, 99)));
  library.insert("b", tokens_of(30), caches_of(tokens_of(30)));
  const auto match = library.find("a", tokens_of(30));
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->num_tokens, 14);
  EXPECT_EQ(library.find("b", tokens_of(30))->num_tokens, 30);
  EXPECT_FALSE(library.find("c", tokens_of(30)).has_value());
  EXPECT_FALSE(library.find("a", Tokens{55}).has_value());
}

TEST(PrefixLibrary, AForkHoldsWhatMatchesAndLeavesTheOriginalAlone) {
  PrefixLibrary library(10);
  const Tokens kept = tokens_of(19, 99);
  library.insert("", kept, caches_of(kept));
  const auto match = library.find("", tokens_of(30));
  SequenceCaches fork = library.fork(*match);
  ASSERT_EQ(fork.num_tokens(), 18);
  append(fork, Tokens{50, 51});
  EXPECT_EQ(fork.model.rows(0).table<float>().row(18)[0], 50);
  const SequenceCaches original = library.fork(*library.find("", kept));
  EXPECT_EQ(original.num_tokens(), 19);
  EXPECT_EQ(original.model.rows(0).table<float>().row(18)[0], 99);
}

TEST(PrefixLibrary, AMatchIsWhereTheCacheCanGoOn) {
  PrefixLibrary library(10);
  const Tokens kept = tokens_of(100);
  library.insert("", kept, caches_of(kept));
  // Older than what is remembered: the checkpoint before it.
  EXPECT_EQ(library.find("", tokens_of(50, 99))->num_tokens, 32);
  EXPECT_EQ(library.find("", tokens_of(95, 99))->num_tokens, 94);
}

TEST(PrefixLibrary, WhatAnotherServesForIsNotKeptTwice) {
  PrefixLibrary library(10);
  library.insert("", tokens_of(40), caches_of(tokens_of(40)));
  library.insert("", tokens_of(50), caches_of(tokens_of(50)));
  EXPECT_EQ(library.num_sequences(), 1);
  library.insert("", tokens_of(45), caches_of(tokens_of(45)));
  EXPECT_EQ(library.num_sequences(), 1);
  // 50 tokens are further back than the longer one remembers: it does not serve for them.
  library.insert("", tokens_of(90), caches_of(tokens_of(90)));
  EXPECT_EQ(library.num_sequences(), 2);
  EXPECT_EQ(library.find("", tokens_of(50))->num_tokens, 50);
  library.insert("other", tokens_of(50), caches_of(tokens_of(50)));
  EXPECT_EQ(library.num_sequences(), 3);
}

TEST(PrefixLibrary, EvictsWhatWasOfUseLeastRecently) {
  PrefixLibrary library(10);
  for (const TokenId first : {1, 2, 3}) {
    library.insert("", {first, 0}, caches_of({first, 0}));
  }
  library.fork(*library.find("", Tokens{1, 0}));
  ASSERT_TRUE(library.evict_one());
  EXPECT_FALSE(library.find("", Tokens{2}).has_value());
  ASSERT_TRUE(library.evict_one({library.find("", Tokens{3})->id}));
  EXPECT_FALSE(library.find("", Tokens{1}).has_value());
  EXPECT_FALSE(library.evict_one({library.find("", Tokens{3})->id}));
  EXPECT_TRUE(library.evict_one());
  EXPECT_FALSE(library.evict_one());
}

TEST(PrefixLibrary, KeepsNoMoreThanItMayAndGivesMemoryBack) {
  const auto pool = std::make_shared<kv::PagePool>();
  {
    PrefixLibrary library(3);
    for (TokenId first = 1; first <= 20; ++first) {
      library.insert("", {first, 0}, caches_of({first, 0}, pool));
    }
    EXPECT_EQ(library.num_sequences(), 3);
    EXPECT_EQ(pool->used_bytes(), 3 * 64);
    PrefixLibrary none(0);
    none.insert("", {1, 0}, caches_of({1, 0}, pool));
    EXPECT_EQ(none.num_sequences(), 0);
  }
  EXPECT_EQ(pool->used_bytes(), 0);
}

// Whatever is inserted, found and evicted: a fork's rows are the tokens that were asked for.
TEST(PrefixLibrary, ForksNeverHoldAnythingElse) {
  std::mt19937 random(1);
  PrefixLibrary library(8);
  for (int round = 0; round < 2000; ++round) {
    // Two tokens of choice: much is in common.
    Tokens tokens(1 + random() % 60);
    for (TokenId& token : tokens) {
      token = random() % 12 == 0 ? 2 : 1;
    }
    SequenceCaches caches = caches_of({});
    const auto match = library.find("", tokens);
    if (match) {
      caches = library.fork(*match);
      ASSERT_EQ(caches.num_tokens(), match->num_tokens);
    }
    const Index resumed = caches.num_tokens();
    append(caches, Tokens(tokens.begin() + resumed, tokens.end()));
    // What is read of a fork's past, and what came since.
    const Index first_kept =
        std::max<Index>(0, std::max(resumed - 3, to_index(tokens.size()) - kForgetful.raw_tokens));
    for (Index row = first_kept; row < to_index(tokens.size()); ++row) {
      ASSERT_EQ(caches.model.rows(0).table<float>().row(row)[0],
                static_cast<float>(tokens[to_size(row)]))
          << "round " << round;
    }
    library.insert("", tokens, std::move(caches));
    if (random() % 5 == 0) {
      library.evict_one();
    }
  }
}

}  // namespace
}  // namespace fathom::engine
