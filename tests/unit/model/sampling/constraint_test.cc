#include "fathom/model/sampling/constraint.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

using testing::fails_with;

constexpr TokenId kStop = 0;

// All single bytes, some longer tokens, a stop token 0 and a control token 1 without bytes.
std::vector<std::string> small_vocabulary() {
  std::vector<std::string> tokens = {"</s>", ""};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  for (const char* token :
       {"{\"", "\":",      "\":\"",    "\"}",  "ab",  "abc", "aa",    "aaa", "aaaa",
        "aab", "aaaaa",    "tru",      "true", "rue", ", ",  "\",\"", "[1",  "1,",
        "12",  "\xE4\xB8", "\xB8\xAD", "中",   "]}",  "}}",  " \n",   "ab"}) {
    tokens.emplace_back(token);
  }
  return tokens;
}

ConstraintVocabularyPtr vocabulary() {
  static const auto kVocabulary =
      std::make_shared<const ConstraintVocabulary>(small_vocabulary(), std::vector<TokenId>{kStop});
  return kVocabulary;
}

std::vector<TokenId> allowed(const ConstraintState& state) {
  std::vector<std::uint32_t> mask(to_size(vocabulary()->mask_words()), 0xDEADBEEF);
  const Index count = state.fill_mask(mask);
  std::vector<TokenId> ids;
  for (Index id = 0; id < vocabulary()->mask_words() * 32; ++id) {
    if (((mask[to_size(id / 32)] >> (id % 32)) & 1U) != 0) {
      ids.push_back(static_cast<TokenId>(id));
    }
  }
  EXPECT_EQ(count, to_index(ids.size()));
  return ids;
}

// Texts of a finite language; a token is allowed iff text + token begins one of them.
struct FiniteLanguage {
  ConstraintPtr constraint;
  std::set<std::string> texts;
};

bool begins_one(const std::set<std::string>& texts, const std::string& beginning) {
  const auto found = texts.lower_bound(beginning);
  return found != texts.end() && found->starts_with(beginning);
}

std::vector<FiniteLanguage> finite_languages() {
  std::vector<FiniteLanguage> languages;
  for (const auto& [min, max] : {std::pair<std::size_t, std::size_t>{2, 9}, {8, 30}}) {
    std::set<std::string> counted;
    for (std::size_t length = min; length <= max; ++length) {
      counted.insert(std::string(length, 'a') + "b");
    }
    const std::string pattern = "a{" + std::to_string(min) + "," + std::to_string(max) + "}b";
    languages.push_back({compile_regex(pattern, vocabulary()), counted});
  }
  std::set<std::string> words;
  for (const char* first : {"ab", "abc", "中", "b"}) {
    for (const char* second : {"", "a", "aa", "true"}) {
      words.insert(std::string(first) + second);
    }
  }
  languages.push_back(
      {compile_ebnf(R"(root ::= ("ab" | "abc" | "中" | "b") ("a"{0,2} | "true"))", vocabulary()),
       words});
  std::set<std::string> documents;
  for (const char* a : {"1", "12", "true", "\"ab\""}) {
    documents.insert(std::string("{\"a\":") + a + "}");
  }
  languages.push_back({compile_regex(R"(\{"a":(12?|true|"ab")\})", vocabulary()), documents});
  return languages;
}

TEST(ConstraintMask, AllowsATokenIffTextAndTokenBeginAText) {
  std::mt19937 random(9);
  for (const FiniteLanguage& language : finite_languages()) {
    for (int walk = 0; walk < 200; ++walk) {
      ConstraintState state(language.constraint);
      std::string text;
      while (!state.is_stopped()) {
        std::vector<TokenId> expected;
        for (TokenId id = 0; id < vocabulary()->size(); ++id) {
          const std::string& bytes = vocabulary()->bytes_of(id);
          const bool is_allowed = id == kStop
                                      ? language.texts.contains(text)
                                      : !bytes.empty() && begins_one(language.texts, text + bytes);
          if (is_allowed) {
            expected.push_back(id);
          }
        }
        ASSERT_EQ(allowed(state), expected) << text;
        ASSERT_EQ(state.is_complete(), language.texts.contains(text)) << text;
        ASSERT_FALSE(expected.empty());
        const TokenId id = expected[random() % expected.size()];
        ASSERT_TRUE(state.accept(id));
        text += vocabulary()->bytes_of(id);
      }
      EXPECT_TRUE(language.texts.contains(text));
    }
  }
}

// Counts beyond the reach of a token share masks; this must not show.
TEST(ConstraintMask, FarCountsDoNotChangeIt) {
  std::mt19937 random(10);
  for (int walk = 0; walk < 100; ++walk) {
    const auto constraint =
        compile_regex(walk % 2 == 0 ? "x(aa?){5,40}b" : "x(a?){40}(aa){5,20}b", vocabulary());
    ConstraintState state(constraint);
    std::string text;
    while (!state.is_stopped()) {
      const auto ids = allowed(state);
      ASSERT_FALSE(ids.empty()) << text;
      for (TokenId id = 0; id < vocabulary()->size(); ++id) {
        ConstraintState copy = state;
        ASSERT_EQ(copy.accept(id), std::binary_search(ids.begin(), ids.end(), id))
            << text << " + " << id;
      }
      const TokenId id = ids[random() % ids.size()];
      ASSERT_TRUE(state.accept(id));
      text += vocabulary()->bytes_of(id);
    }
    const auto num_a = std::count(text.begin(), text.end(), 'a');
    EXPECT_TRUE(walk % 2 == 0 ? num_a >= 5 && num_a <= 80 : num_a >= 10 && num_a <= 80) << text;
  }
}

TEST(ConstraintState, RollbackEqualsAFreshWalk) {
  std::mt19937 random(11);
  const auto constraint = compile_json_schema(
      R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"boolean"}},"b":{"type":"string"}},
          "required":["a"]})",
      vocabulary());
  for (int walk = 0; walk < 100; ++walk) {
    ConstraintState state(constraint);
    std::vector<TokenId> taken;
    for (int step = 0; step < 40; ++step) {
      if (random() % 3 == 0) {
        const auto count = static_cast<Index>(random() % (taken.size() + 1));
        state.rollback(count);
        taken.resize(taken.size() - to_size(count));
        ConstraintState fresh(constraint);
        for (const TokenId id : taken) {
          ASSERT_TRUE(fresh.accept(id));
        }
        ASSERT_EQ(allowed(state), allowed(fresh));
        ASSERT_EQ(state.num_tokens(), fresh.num_tokens());
        ASSERT_EQ(state.is_stopped(), fresh.is_stopped());
      }
      const auto ids = allowed(state);
      if (!ids.empty()) {
        taken.push_back(ids[random() % ids.size()]);
        ASSERT_TRUE(state.accept(taken.back()));
      }
    }
  }
}

TEST(ConstraintState, StopIsLegalExactlyWhereTheTextMayEndAndNothingComesAfterIt) {
  ConstraintState state(compile_regex("ab?", vocabulary()));
  EXPECT_FALSE(state.accept(kStop));
  EXPECT_FALSE(state.is_complete());
  EXPECT_TRUE(state.accept(2 + 'a'));
  EXPECT_TRUE(state.is_complete());
  EXPECT_EQ(allowed(state), (std::vector<TokenId>{kStop, 2 + 'b'}));
  EXPECT_TRUE(state.accept(kStop));
  EXPECT_TRUE(state.is_stopped());
  EXPECT_EQ(state.num_tokens(), 2);
  EXPECT_TRUE(allowed(state).empty());
  EXPECT_FALSE(state.accept(2 + 'b'));
  EXPECT_FALSE(state.accept(kStop));
  state.rollback(1);
  EXPECT_FALSE(state.is_stopped());
  EXPECT_TRUE(state.accept(2 + 'b'));
  EXPECT_EQ(allowed(state), (std::vector<TokenId>{kStop}));
  state.rollback(2);
  EXPECT_EQ(state.num_tokens(), 0);
}

TEST(ConstraintState, RefusesControlTokensAndIdsOutsideWithoutChanging) {
  ConstraintState state(compile_regex(".*", vocabulary()));
  for (const TokenId id : {TokenId{1}, TokenId{-1}, static_cast<TokenId>(vocabulary()->size())}) {
    EXPECT_FALSE(state.accept(id));
  }
  EXPECT_EQ(state.num_tokens(), 0);
  EXPECT_THROW(state.rollback(1), Error);
}

TEST(ConstraintState, CopiesGoTheirOwnWays) {
  ConstraintState one(compile_regex("a(b|c)", vocabulary()));
  ASSERT_TRUE(one.accept(2 + 'a'));
  ConstraintState other = one;
  EXPECT_TRUE(one.accept(2 + 'b'));
  EXPECT_TRUE(other.accept(2 + 'c'));
  EXPECT_TRUE(one.is_complete() && other.is_complete());
}

TEST(ConstraintState, ADeadEndOfTheVocabularyIsReported) {
  // Without single bytes nothing spells the b that must follow.
  const auto poor = std::make_shared<const ConstraintVocabulary>(
      std::vector<std::string>{"</s>", "a", "aa"}, std::vector<TokenId>{0});
  ConstraintState state(compile_regex("ab", poor));
  std::vector<std::uint32_t> mask(1);
  EXPECT_EQ(state.fill_mask(mask), 1);
  ASSERT_TRUE(state.accept(1));
  EXPECT_EQ(state.fill_mask(mask), 0);
  EXPECT_EQ(mask[0], 0U);
}

TEST(Constraint, IsSharedByThreads) {
  const auto constraint = compile_json_object(vocabulary());
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < texts.size(); ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(thread % 2 == 0 ? 5 : 6);
      ConstraintState state(constraint);
      for (int step = 0; step < 60; ++step) {
        std::vector<std::uint32_t> mask(to_size(vocabulary()->mask_words()));
        const Index count = state.fill_mask(mask);
        auto choice = static_cast<Index>(random() % to_size(count));
        for (TokenId id = 0; id < vocabulary()->size(); ++id) {
          if (((mask[static_cast<std::size_t>(id) / 32] >> (id % 32)) & 1U) != 0 && choice-- == 0) {
            state.accept(id);
            texts[thread] += vocabulary()->bytes_of(id);
            break;
          }
        }
        if (state.is_stopped()) {
          break;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(texts[0], texts[2]);
  EXPECT_EQ(texts[1], texts[3]);
}

TEST(ConstraintVocabulary, RefusesBadStopIdsAndNoTokens) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "stop_token_ids: token id 3", [] {
    ConstraintVocabulary({"a", "b"}, {3});
  }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "expected tokens",
                         [] { ConstraintVocabulary({}, {}); }));
}

}  // namespace
}  // namespace fathom::sampling
