#include <functional>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

using formats::GgufArray;
using formats::GgufHeader;

const Merges kMerges = {{"a", "b"}, {"ab", "c"}};

TEST(TokenizerGguf, BytePairsEqualTheSameVocabularyAsJson) {
  GgufHeader header = small_gguf(kMerges);
  header.metadata["tokenizer.ggml.eos_token_id"] = std::uint64_t{258};
  const auto ours = Tokenizer::from_gguf(header, "m.gguf");
  const auto json = parse(small_document(kMerges));
  for (const char* text : {"abcab<end>c", " hello  world\n", "caf\u00e9 12", "", "<end><end"}) {
    for (const ControlTokens mode : {ControlTokens::Recognised, ControlTokens::Plain}) {
      EXPECT_EQ(ours->encode(text, mode), json->encode(text, mode)) << text;
    }
  }
  EXPECT_EQ(ours->eos_id(), 258);
  EXPECT_FALSE(ours->bos_id().has_value());
  EXPECT_FALSE(ours->adds_bos());
  EXPECT_EQ(ours->bytes_of(258), "<end>");
}

// SentencePiece's kind as fathom synth writes it: bytes, and words that begin with a blank.
GgufHeader scored_gguf() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int64_t> kinds = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(name_of_byte(static_cast<std::uint8_t>(byte)));
    kinds.push_back(6);
  }
  for (const char* word : {"\u2581", "\u2581a", "\u2581ab", "b", "bc", "\u2581abc"}) {
    tokens.emplace_back(word);
    kinds.push_back(1);
  }
  std::vector<double> scores;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    scores.push_back(-static_cast<double>(i));
  }
  GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("llama");
  header.metadata["tokenizer.ggml.tokens"] = GgufArray(tokens);
  header.metadata["tokenizer.ggml.token_type"] = GgufArray(kinds);
  header.metadata["tokenizer.ggml.scores"] = GgufArray(scores);
  header.metadata["tokenizer.ggml.bos_token_id"] = std::uint64_t{1};
  header.metadata["tokenizer.ggml.unknown_token_id"] = std::uint64_t{0};
  return header;
}

TEST(TokenizerGguf, ScoredWordsMergeByScoreAndTheRestIsBytes) {
  const auto tokenizer = Tokenizer::from_gguf(scored_gguf(), "m.gguf");
  // a is no token of its own, and still begins a word: U+2581 a goes first, then b joins it.
  EXPECT_EQ(tokenizer->encode("abc", ControlTokens::Plain), std::vector<TokenId>{264});
  EXPECT_EQ(tokenizer->encode("abb", ControlTokens::Plain), (std::vector<TokenId>{261, 262}));
  EXPECT_EQ(tokenizer->encode("abd", ControlTokens::Plain), (std::vector<TokenId>{261, 3 + 'd'}));
  EXPECT_EQ(tokenizer->encode("xa", ControlTokens::Plain),
            (std::vector<TokenId>{259, 3 + 'x', 3 + 'a'}));
  EXPECT_EQ(tokenizer->encode("</s>", ControlTokens::Recognised), std::vector<TokenId>{2});
  EXPECT_EQ(tokenizer->encode("<s>", ControlTokens::Plain),
            (std::vector<TokenId>{259, 3 + '<', 3 + 's', 3 + '>'}));
  EXPECT_EQ(decode(*tokenizer, {261, 3 + 0xc3, 3 + 0xa9}), " ab\u00e9");
  EXPECT_TRUE(tokenizer->adds_bos());
}

TEST(TokenizerGguf, TheBlankInFrontIsTheFilesChoice) {
  GgufHeader header = scored_gguf();
  header.metadata["tokenizer.ggml.add_space_prefix"] = false;
  header.metadata["tokenizer.ggml.add_bos_token"] = false;
  const auto tokenizer = Tokenizer::from_gguf(header, "m.gguf");
  EXPECT_EQ(tokenizer->encode("b a", ControlTokens::Plain), (std::vector<TokenId>{262, 260}));
  EXPECT_FALSE(tokenizer->adds_bos());
}

struct Refusal {
  const char* name;
  ErrorCode code;
  const char* part;
  std::function<void(GgufHeader&)> change;
};

TEST(TokenizerGguf, RefusalsNameTheKey) {
  using enum ErrorCode;
  const auto tokens = [](GgufHeader& header) -> std::vector<std::string>& {
    return std::get<std::vector<std::string>>(
        std::get<GgufArray>(header.metadata["tokenizer.ggml.tokens"]));
  };
  const auto merges = [](GgufHeader& header) -> std::vector<std::string>& {
    return std::get<std::vector<std::string>>(
        std::get<GgufArray>(header.metadata["tokenizer.ggml.merges"]));
  };
  const Refusal refusals[] = {
      {"no model", InvalidCheckpoint, "tokenizer.ggml.model",
       [](GgufHeader& h) { h.metadata.erase("tokenizer.ggml.model"); }},
      {"kind", Unsupported, "found \"bert\"",
       [](GgufHeader& h) { h.metadata["tokenizer.ggml.model"] = std::string("bert"); }},
      {"pre", Unsupported, "\"klingon\" is not known",
       [](GgufHeader& h) { h.metadata["tokenizer.ggml.pre"] = std::string("klingon"); }},
      {"no tokens", InvalidCheckpoint, "tokenizer.ggml.tokens",
       [](GgufHeader& h) { h.metadata.erase("tokenizer.ggml.tokens"); }},
      {"empty", InvalidCheckpoint, "found 0 tokens", [&](GgufHeader& h) { tokens(h).clear(); }},
      {"numbers", InvalidCheckpoint, "array of strings",
       [](GgufHeader& h) {
         h.metadata["tokenizer.ggml.tokens"] = GgufArray(std::vector<std::int64_t>{1});
       }},
      {"kinds", InvalidCheckpoint, "tokenizer.ggml.token_type",
       [&](GgufHeader& h) { tokens(h).push_back("x1"); }},
      {"utf-8", InvalidCheckpoint, "is not UTF-8", [&](GgufHeader& h) { tokens(h)[3] = "\xff"; }},
      {"twice", InvalidCheckpoint, "found twice", [&](GgufHeader& h) { tokens(h)[3] = "a"; }},
      {"merge", InvalidCheckpoint, "\"zz\" is no token",
       [&](GgufHeader& h) { merges(h).push_back("zz a"); }},
      {"merge form", InvalidCheckpoint, "expected two tokens",
       [&](GgufHeader& h) { merges(h).push_back("zz"); }},
      {"merge twice", InvalidCheckpoint, "found twice",
       [&](GgufHeader& h) { merges(h).push_back("a b"); }},
      {"end", InvalidCheckpoint, "tokenizer.ggml.eos_token_id",
       [](GgufHeader& h) { h.metadata["tokenizer.ggml.eos_token_id"] = std::uint64_t{259}; }},
  };
  for (const Refusal& refusal : refusals) {
    GgufHeader header = small_gguf(kMerges);
    refusal.change(header);
    EXPECT_TRUE(testing::fails_with(refusal.code, refusal.part, [&] {
      Tokenizer::from_gguf(header, "m.gguf");
    })) << refusal.name;
  }
  GgufHeader header = scored_gguf();
  header.metadata["tokenizer.ggml.scores"] = GgufArray(std::vector<double>{1});
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint, "tokenizer.ggml.scores",
                                  [&] { Tokenizer::from_gguf(header, "m.gguf"); }));
}

}  // namespace
}  // namespace fathom::text
