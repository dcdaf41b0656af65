#include "fathom/model/text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using Pieces = std::vector<std::string>;

Pieces pieces(const PreTokenizer& pre_tokenizer, std::string_view text) {
  Pieces result;
  pre_tokenizer.split(text, [&](std::string_view piece) { result.emplace_back(piece); });
  return result;
}

Pieces split_at_digits(SplitBehavior behavior, bool is_inverted, std::string_view text) {
  return pieces(PreTokenizer({{.find = scanner_of(SplitPattern::Number),
                               .behavior = behavior,
                               .is_inverted = is_inverted}}),
                text);
}

TEST(PreTokenizer, EachStepCutsWhatTheOneBeforeLeft) {
  const PreTokenizer pre_tokenizer = gguf_pre_tokenizer("joyai-llm", "x").pre_tokenizer;
  // The blank before the digits ends its piece, so no word takes it.
  EXPECT_EQ(pieces(pre_tokenizer, "ab  1234 \u4e2dc"),
            (Pieces{"ab", "  ", "123", "4", " ", "\u4e2d", "c"}));
  EXPECT_EQ(pieces(pre_tokenizer, ""), Pieces{});
}

TEST(PreTokenizer, BehavioursOfASplit) {
  using enum SplitBehavior;
  EXPECT_EQ(split_at_digits(Isolated, false, "a12b"), (Pieces{"a", "1", "2", "b"}));
  EXPECT_EQ(split_at_digits(Removed, false, "a12b"), (Pieces{"a", "b"}));
  EXPECT_EQ(split_at_digits(Removed, true, "a12b"), (Pieces{"1", "2"}));
  EXPECT_EQ(split_at_digits(Contiguous, false, "a12b"), (Pieces{"a", "12", "b"}));
  EXPECT_EQ(split_at_digits(MergedWithPrevious, false, "a12b"), (Pieces{"a1", "2", "b"}));
  EXPECT_EQ(split_at_digits(MergedWithNext, false, "a12b"), (Pieces{"a", "1", "2b"}));
}

TEST(PreTokenizer, ALiteralAndABlankInFront) {
  EXPECT_EQ(pieces(PreTokenizer({{.literal = "->"}}), "a->b"), (Pieces{"a", "->", "b"}));
  const PreTokenizer blank({{.find = scanner_of(SplitPattern::Gpt2Words), .adds_blank = true}});
  EXPECT_EQ(pieces(blank, "a b"), (Pieces{" a", " b"}));
  EXPECT_EQ(pieces(blank, " a"), (Pieces{" a"}));
}

TEST(PreTokenizer, GgufNamesThatMeanTheSame) {
  for (const char* name : {"joyai-llm", "deepseek-v3"}) {
    EXPECT_EQ(pieces(gguf_pre_tokenizer(name, "x").pre_tokenizer, ".a1234"),
              (Pieces{".a", "123", "4"}));
  }
  EXPECT_EQ(pieces(gguf_pre_tokenizer("smollm", "x").pre_tokenizer, "x 12"),
            (Pieces{"x", " ", "1", "2"}));
  EXPECT_EQ(pieces(gguf_pre_tokenizer("default", "x").pre_tokenizer, "a--1234"),
            (Pieces{"a", "--", "123", "4"}));
  EXPECT_TRUE(gguf_pre_tokenizer("llama-bpe", "x").ignores_merges);
  EXPECT_TRUE(gguf_pre_tokenizer("llama-bpe", "x").adds_bos);
  EXPECT_FALSE(gguf_pre_tokenizer("qwen2", "x").adds_bos);
  EXPECT_EQ(pieces(gguf_pre_tokenizer("deepseek-llm", "x").pre_tokenizer, "ab 12\n\n"),
            (Pieces{"ab", " ", "1", "2", "\n", "\n"}));
}

TEST(PreTokenizer, AnUnknownGgufNameIsRefused) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "\"klingon\" is not known",
                                  [] { gguf_pre_tokenizer("klingon", "m.gguf"); }));
}

}  // namespace
}  // namespace fathom::text
