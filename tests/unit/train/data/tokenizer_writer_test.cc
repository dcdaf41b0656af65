#include "fathom/train/data/tokenizer_writer.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/text_model.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::data {
namespace {

std::shared_ptr<const text::Tokenizer> trained(Index size, bool has_chat) {
  BpeTrainer trainer;
  for (int i = 0; i < 3; ++i) {
    trainer.add("The other day there were 1234 \"others\"\\\n\t\u4e2d\u6587 in the theatre\u2026");
  }
  const TrainedVocabulary vocabulary = trainer.train(
      {.vocabulary_size = size, .special = v4_special_tokens(has_chat)}, [](Index, Index) {});
  return text::Tokenizer::parse_json(tokenizer_json(vocabulary), "trained");
}

TEST(TokenizerWriter, OurReaderReadsItAndTextComesBack) {
  const auto tokenizer = trained(290, false);
  EXPECT_EQ(tokenizer->num_ids(), 290);
  std::string every_byte;
  for (int code = 1; code < 0x250; ++code) {
    every_byte += static_cast<char>(code < 0x80 ? code : 'x');
  }
  for (const std::string& text : {every_byte, std::string("the others \u4e2d \U0001f642 \\\"")}) {
    EXPECT_EQ(decode(*tokenizer, tokenizer->encode(text, text::ControlTokens::Plain)), text);
  }
  EXPECT_EQ(tokenizer->encode(" the", text::ControlTokens::Plain).size(), 1U);
}

TEST(TokenizerWriter, ControlTokensOfConversationsAreAllThere) {
  const auto tokenizer = trained(400, true);
  const auto format = text::make_v4_format(text::dialects().front());
  text::Conversation conversation;
  conversation.messages = {
      {.role = text::Role::System, .content = {{.text = "Be kind."}}},
      {.role = text::Role::User, .content = {{.text = "Hello"}}},
      {.role = text::Role::Assistant,
       .content = {{.text = "Hi"}},
       .reasoning = "greet",
       .tool_calls = {{.id = "", .name = "wave", .arguments = "{\"times\": 2}"}}}};
  const text::Prompt prompt = format->render(conversation, {});
  std::vector<std::string> controls;
  for (const text::TokenId id : text::encode(*tokenizer, prompt)) {
    if (tokenizer->is_control(id)) {
      controls.emplace_back(tokenizer->bytes_of(id));
    }
  }
  for (const char* const expected : {"<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
                                     "<think>", "</think>", "｜DSML｜", "<｜end▁of▁sentence｜>"}) {
    EXPECT_NE(std::find(controls.begin(), controls.end(), expected), controls.end()) << expected;
  }
  const text::TextModel model =
      text::make_text_model(tokenizer, text::make_v4_format(text::dialects().front()));
  EXPECT_EQ(model.raw_text_bos, 0);
  EXPECT_EQ(model.stop_ids.front(), 1);
}

}  // namespace
}  // namespace fathom::data
