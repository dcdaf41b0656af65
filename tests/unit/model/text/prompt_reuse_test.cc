#include "fathom/model/text/prompt_reuse.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/model/text/tokenizer.h"

namespace fathom::text {
namespace {

// Ids 0 to 25 are the letters, 26 "ab", 27 "bc", 28 "abc", 29 has no bytes, 30 is a control token
// that is spelled "ab".
class LetterTokenizer final : public Tokenizer {
 public:
  void encode(std::string_view text, ControlTokens, std::vector<TokenId>& ids) const override {
    for (const char letter : text) {
      ids.push_back(letter - 'a');
    }
  }
  std::vector<ControlSpan> find_controls(std::string_view) const override { return {}; }
  Index num_ids() const override { return 31; }
  std::string_view bytes_of(TokenId id) const override {
    static const std::vector<std::string> kBytes = [] {
      std::vector<std::string> bytes;
      for (char letter = 'a'; letter <= 'z'; ++letter) {
        bytes.emplace_back(1, letter);
      }
      bytes.insert(bytes.end(), {"ab", "bc", "abc", "", "ab"});
      return bytes;
    }();
    return kBytes[static_cast<std::size_t>(id)];
  }
  bool is_control(TokenId id) const override { return id == 30; }
  std::optional<TokenId> control_id(std::string_view) const override { return std::nullopt; }
  std::optional<TokenId> bos_id() const override { return std::nullopt; }
  std::optional<TokenId> eos_id() const override { return std::nullopt; }
  bool adds_bos() const override { return false; }
};

ReusablePrefix reuse(const std::vector<TokenId>& cached, const std::vector<TokenId>& prompt) {
  return reusable_prefix(LetterTokenizer(), cached, prompt);
}

TEST(PromptReuse, EqualTokensAreKeptUpToTheFirstDifference) {
  EXPECT_EQ(reuse({0, 1, 2}, {0, 1, 3}), (ReusablePrefix{2, 2}));
  EXPECT_EQ(reuse({0, 1, 2}, {0, 1, 2, 5}), (ReusablePrefix{3, 3}));
  EXPECT_EQ(reuse({}, {0}), (ReusablePrefix{0, 0}));
}

TEST(PromptReuse, TheSameBytesInOtherTokensAreKept) {
  EXPECT_EQ(reuse({0, 27, 5}, {28, 5}), (ReusablePrefix{3, 2}));
  EXPECT_EQ(reuse({26, 2}, {0, 27}), (ReusablePrefix{2, 2}));
}

TEST(PromptReuse, ACutInsideATokenGoesBackToTheLastCommonBorder) {
  EXPECT_EQ(reuse({5, 28}, {5, 0, 1}), (ReusablePrefix{1, 1}));
  EXPECT_EQ(reuse({5, 26, 2}, {5, 0, 27, 3}), (ReusablePrefix{3, 3}));
}

TEST(PromptReuse, TextThatSpellsAControlTokenIsNotThatToken) {
  EXPECT_EQ(reuse({5, 30, 6}, {5, 26, 6}), (ReusablePrefix{1, 1}));
  EXPECT_EQ(reuse({5, 26, 6}, {5, 30, 6}), (ReusablePrefix{1, 1}));
  EXPECT_EQ(reuse({5, 30, 6}, {5, 30, 6}), (ReusablePrefix{3, 3}));
}

TEST(PromptReuse, IdsWithoutBytesMatchOnlyThemselves) {
  EXPECT_EQ(reuse({29, 0}, {29, 0}), (ReusablePrefix{2, 2}));
  EXPECT_EQ(reuse({29, 0}, {0}), (ReusablePrefix{0, 0}));
}

TEST(PromptReuse, KeptTokensAlwaysSpellTheSameAndNoLongerBorderExists) {
  std::mt19937 random(5);
  const LetterTokenizer tokenizer;
  const std::vector<TokenId> kinds = {0, 1, 2, 26, 27, 28, 30};
  for (int round = 0; round < 20000; ++round) {
    std::vector<TokenId> sides[2];
    for (auto& side : sides) {
      side.resize(random() % 7);
      for (TokenId& id : side) {
        id = kinds[random() % kinds.size()];
      }
    }
    // Control tokens spelled apart, so that equal strings mean equal meaning.
    const auto spelled = [&](const std::vector<TokenId>& ids, Index count) {
      std::string text;
      for (Index i = 0; i < count; ++i) {
        const TokenId id = ids[static_cast<std::size_t>(i)];
        text += id == 30 ? "<30>" : std::string(tokenizer.bytes_of(id));
      }
      return text;
    };
    ReusablePrefix best{0, 0};
    for (Index i = 0; i <= to_index(sides[0].size()); ++i) {
      for (Index j = 0; j <= to_index(sides[1].size()); ++j) {
        if (spelled(sides[0], i) == spelled(sides[1], j)) {
          best = {i, j};
        }
      }
    }
    EXPECT_EQ(reuse(sides[0], sides[1]), best);
  }
}

}  // namespace
}  // namespace fathom::text
