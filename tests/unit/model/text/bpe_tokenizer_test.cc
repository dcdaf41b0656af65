#include "fathom/model/text/bpe_tokenizer.h"

#include <random>

#include <gtest/gtest.h>

#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

TEST(V4Tokenizer, GoldenCasesWithControlTokensOnAndOff) {
  const auto cases = nlohmann::json::parse(golden_text("deepseek-v4-cases.json"));
  for (const auto& [name, mode] : {std::pair("special", ControlTokens::Recognised),
                                   std::pair("plain", ControlTokens::Plain)}) {
    ASSERT_FALSE(cases.at(name).empty());
    for (const auto& item : cases.at(name)) {
      EXPECT_EQ(v4_tokenizer().encode(item.at("text").get<std::string>(), mode),
                item.at("ids").get<std::vector<TokenId>>())
          << name << ": " << item.at("text");
    }
  }
}

TEST(V4Tokenizer, GoldenCasesAtTheSeamsOfUnicodeVersions) {
  const auto cases = nlohmann::json::parse(golden_text("unicode-cases.json"));
  ASSERT_EQ(cases.size(), 306U);
  for (const auto& item : cases) {
    EXPECT_EQ(v4_tokenizer().encode(item.at("text").get<std::string>(), ControlTokens::Recognised),
              item.at("ids").get<std::vector<TokenId>>())
        << item.at("text");
  }
}

TEST(V4Tokenizer, FactsOfTheSpecification) {
  const Tokenizer& tokenizer = v4_tokenizer();
  EXPECT_EQ(tokenizer.num_ids(), 129280);
  EXPECT_EQ(tokenizer.control_id("<think>"), 128821);
  EXPECT_EQ(tokenizer.control_id("\uff5cDSML\uff5c"), 128825);
  EXPECT_FALSE(tokenizer.control_id("<tool_result>").has_value());
  EXPECT_EQ(tokenizer.bytes_of(128803), "<\uff5cUser\uff5c>");
  EXPECT_TRUE(tokenizer.is_control(1));
  EXPECT_FALSE(tokenizer.is_control(3));
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.bytes_of(-1), "");
  EXPECT_EQ(tokenizer.bytes_of(129280), "");
  Index num_controls = 0;
  Index num_broken = 0;
  for (TokenId id = 0; id < tokenizer.num_ids(); ++id) {
    num_controls += tokenizer.is_control(id) ? 1 : 0;
    const std::string_view bytes = tokenizer.bytes_of(id);
    ASSERT_FALSE(bytes.empty()) << id;
    num_broken += repair_utf8(bytes) == bytes ? 0 : 1;
  }
  EXPECT_EQ(num_controls, 1283);
  EXPECT_EQ(num_broken, 1470);
}

TEST(V4Tokenizer, EveryOrdinaryTokenIsReachedFromItsOwnBytesAlone) {
  const Tokenizer& tokenizer = v4_tokenizer();
  Index num_whole = 0;
  for (TokenId id = 3; id < 128000; ++id) {
    const std::string bytes(tokenizer.bytes_of(id));
    if (repair_utf8(bytes) == bytes) {
      const std::vector<TokenId> ids = tokenizer.encode(bytes, ControlTokens::Plain);
      num_whole += ids == std::vector<TokenId>{id} ? 1 : 0;
      ASSERT_EQ(decode(tokenizer, ids), bytes);
    }
  }
  // The others cross the border of a piece.
  EXPECT_GT(num_whole, 125000);
}

TEST(V4Tokenizer, TextComesBackWhateverItIs) {
  const Tokenizer& tokenizer = v4_tokenizer();
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (std::size_t i = 0, size = random() % 60; i < size; ++i) {
      const std::uint32_t limit =
          std::vector<std::uint32_t>{0x80, 0x3000, 0xd800, 0x110000}[random() % 4];
      const std::uint32_t code = static_cast<std::uint32_t>(random()) % limit;
      append_utf8(code >= 0xd800 && code < 0xe000 ? 'x' : code, text);
    }
    for (const ControlTokens mode : {ControlTokens::Recognised, ControlTokens::Plain}) {
      ASSERT_EQ(decode(tokenizer, tokenizer.encode(text, mode)), text);
    }
  }
}

TEST(V4Tokenizer, PlainTextNeverBecomesAControlToken) {
  const Tokenizer& tokenizer = v4_tokenizer();
  for (TokenId id = 0; id < tokenizer.num_ids(); ++id) {
    if (!tokenizer.is_control(id)) {
      continue;
    }
    const std::string text(tokenizer.bytes_of(id));
    ASSERT_EQ(tokenizer.encode(text, ControlTokens::Recognised), std::vector<TokenId>{id}) << text;
    for (const TokenId plain : tokenizer.encode(text, ControlTokens::Plain)) {
      ASSERT_FALSE(tokenizer.is_control(plain)) << text;
    }
  }
}

TEST(V4Tokenizer, BrokenTextCountsAsReplacementCharacters) {
  const Tokenizer& tokenizer = v4_tokenizer();
  EXPECT_EQ(tokenizer.encode("a\xff\xe4\xb8z<think>", ControlTokens::Recognised),
            tokenizer.encode("a\xef\xbf\xbd\xef\xbf\xbdz<think>", ControlTokens::Recognised));
}

TEST(V4Tokenizer, AMillionSpacesAndAWordOfFourMegabytes) {
  const Tokenizer& tokenizer = v4_tokenizer();
  for (const std::string& text : {std::string(1'000'000, ' '), std::string(4'000'000, 'a')}) {
    EXPECT_TRUE(decode(tokenizer, tokenizer.encode(text, ControlTokens::Plain)) == text);
  }
}

}  // namespace
}  // namespace fathom::text
