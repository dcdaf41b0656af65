#include "fathom/model/text/text_model.h"

#include <gtest/gtest.h>

#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

TEST(TextModel, V4StopsAtTurnHeadersAndBeginsRawTextWithItsToken) {
  const auto tokenizer = Tokenizer::parse_json(golden_text("tokenizer.json"), "tokenizer.json");
  const TextModel model = make_text_model(tokenizer, make_v4_format(dialects().front()));
  EXPECT_EQ(model.stop_ids, (std::vector<TokenId>{1, 0, 128803, 128804, 128828}));
  EXPECT_EQ(model.raw_text_bos, 0);
}

TEST(TextModel, WithoutAFormatTheTokenizerDecides) {
  const auto tokenizer = Tokenizer::parse_json(golden_text("tokenizer.json"), "tokenizer.json");
  const TextModel model = make_text_model(tokenizer, nullptr);
  EXPECT_EQ(model.format, nullptr);
  EXPECT_EQ(model.raw_text_bos, std::nullopt);
}

}  // namespace
}  // namespace fathom::text
