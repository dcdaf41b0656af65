#include "fathom/serve/openai/token_texts.h"

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/replay_engine.h"

namespace fathom::openai {
namespace {

using fathom::testing::v4_text_model;

TEST(TokenTexts, EveryIdOfV4HasASpellingOfItsOwn) {
  const TokenTexts texts(v4_text_model().tokenizer);
  std::set<std::string> spellings;
  Index num_bytes = 0;
  for (text::TokenId id = 0; id < 129280; ++id) {
    const std::string spelling = texts.spelling(id);
    EXPECT_TRUE(spellings.insert(spelling).second) << id << " " << spelling;
    num_bytes += spelling.starts_with("bytes:\\x") ? 1 : 0;
  }
  EXPECT_EQ(num_bytes, 1470);  // that are no UTF-8 on their own (text specification 1.1)
}

TEST(TokenTexts, BytesAreSpelledAsTheVendorDoes) {
  const TokenTexts texts(v4_text_model().tokenizer);
  EXPECT_EQ(texts.spelling(19923), "Hello");
  EXPECT_EQ(texts.spelling(1), "<｜end▁of▁sentence｜>");
  Index num_found = 0;
  for (text::TokenId id = 0; id < 129280; ++id) {
    if (texts.bytes(id) == "\xe4\xb8") {
      EXPECT_EQ(texts.spelling(id), "bytes:\\xE4\\xB8");
      ++num_found;
    }
  }
  EXPECT_EQ(num_found, 1);
}

// Files of other models hold a text twice, ids without one, and text that looks like our marks.
class OddTokenizer : public text::Tokenizer {
 public:
  void encode(std::string_view, text::ControlTokens, std::vector<text::TokenId>&) const override {}
  std::vector<text::ControlSpan> find_controls(std::string_view) const override { return {}; }
  Index num_ids() const override { return to_index(kTokens.size()); }
  std::string_view bytes_of(text::TokenId id) const override { return kTokens[to_size(Index{id})]; }
  bool is_control(text::TokenId) const override { return false; }
  std::optional<text::TokenId> control_id(std::string_view) const override { return std::nullopt; }
  std::optional<text::TokenId> bos_id() const override { return std::nullopt; }
  std::optional<text::TokenId> eos_id() const override { return std::nullopt; }
  bool adds_bos() const override { return false; }

 private:
  static constexpr std::array<std::string_view, 6> kTokens = {"a", "a",           "",
                                                              "",  "bytes:\\x61", "\xff"};
};

TEST(TokenTexts, OddVocabulariesHaveSpellingsOfTheirOwnToo) {
  const TokenTexts texts(std::make_shared<OddTokenizer>());
  const std::vector<std::string> expected = {"a",          "token_id:1", "token_id:2",
                                             "token_id:3", "token_id:4", "bytes:\\xFF"};
  for (std::size_t id = 0; id < expected.size(); ++id) {
    EXPECT_EQ(texts.spelling(static_cast<text::TokenId>(id)), expected[id]);
  }
}

TEST(TokenTexts, AnIdThatIsNoneHasANumber) {
  const TokenTexts texts(v4_text_model().tokenizer);
  EXPECT_EQ(texts.spelling(200000), "token_id:200000");
  EXPECT_EQ(texts.bytes(-1), "");
}

}  // namespace
}  // namespace fathom::openai
