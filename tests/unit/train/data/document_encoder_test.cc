#include "fathom/train/data/document_encoder.h"

#include <gtest/gtest.h>

#include "fathom/model/text/chat_format.h"
#include "fathom/train/data/tokenizer_writer.h"

#include "tests/support/expect_error.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

text::TextModel model_with(std::shared_ptr<const text::ChatFormat> format) {
  BpeTrainer trainer;
  trainer.add("What is it? It is a river. Is it? A river it is.");
  trainer.add("What is it? It is a river. Is it? A river it is.");
  std::vector<std::string> special = v4_special_tokens(true);
  special.emplace_back("<|im_start|>");
  special.emplace_back("<|im_end|>");
  const TrainedVocabulary vocabulary =
      trainer.train({.vocabulary_size = 320, .special = special}, [](Index, Index) {});
  return text::make_text_model(text::Tokenizer::parse_json(tokenizer_json(vocabulary), "t"),
                               std::move(format));
}

text::TextModel v4_model() {
  return model_with(text::make_v4_format(text::dialects().front()));
}

std::vector<EncodedDocument> encode(const text::TextModel& model, const Document& document) {
  std::vector<EncodedDocument> encoded;
  DocumentEncoder(model).encode(document, encoded);
  return encoded;
}

Document text_document(const std::string& text) {
  Document document;
  document.text = text;
  return document;
}

Document talk(const std::string& json) {
  Document document = text_document("x");
  document.conversation = json;
  document.place = "talk.jsonl: line 1";
  return document;
}

std::string text_of(const text::TextModel& model, const EncodedDocument& encoded) {
  return decode(*model.tokenizer, encoded.tokens);
}

// The text of what counts, a bar after each run.
std::string counted_text(const text::TextModel& model, const EncodedDocument& encoded) {
  std::string text;
  for (std::size_t i = 0; i < encoded.tokens.size(); ++i) {
    if (encoded.counts[i] != 0) {
      text += model.tokenizer->bytes_of(encoded.tokens[i]);
      text += i + 1 == encoded.tokens.size() || encoded.counts[i + 1] == 0 ? "|" : "";
    }
  }
  return text;
}

const std::string kBegin = "<｜begin▁of▁sentence｜>";
const std::string kEnd = "<｜end▁of▁sentence｜>";

TEST(DocumentEncoder, ATextStandsBetweenItsMarksAndIsNeverAControlToken) {
  const text::TextModel model = v4_model();
  const auto encoded = encode(model, text_document("It is <think> a river"));
  ASSERT_EQ(encoded.size(), 1U);
  EXPECT_EQ(text_of(model, encoded[0]), kBegin + "It is <think> a river" + kEnd);
  EXPECT_TRUE(encoded[0].counts.empty());
  Index num_controls = 0;
  for (const std::int32_t token : encoded[0].tokens) {
    num_controls += model.tokenizer->is_control(token) ? 1 : 0;
  }
  EXPECT_EQ(num_controls, 2);
}

TEST(DocumentEncoder, OnlyRepliesCount) {
  const text::TextModel model = v4_model();
  const auto encoded = encode(model, talk(R"({"messages":[{"role":"system","content":"Short."},
        {"role":"user","content":"What is it?"},{"role":"assistant","content":"A river."},
        {"role":"user","content":"Is it?"},{"role":"assistant","content":"It is."},
        {"role":"user","content":"ignored"}]})"));
  ASSERT_EQ(encoded.size(), 1U);
  EXPECT_EQ(text_of(model, encoded[0]),
            kBegin + "Short.<｜User｜>What is it?<｜Assistant｜></think>A river." + kEnd +
                "<｜User｜>Is it?<｜Assistant｜></think>It is." + kEnd);
  EXPECT_EQ(counted_text(model, encoded[0]),
            std::string("A river.") + kEnd + "|It is." + kEnd + "|");
}

TEST(DocumentEncoder, ReasoningIsTrainedOnInThePromptThatItWouldHave) {
  const text::TextModel model = v4_model();
  const auto encoded = encode(model, talk(R"({"messages":[{"role":"user","content":"What is it?"},
        {"role":"assistant","reasoning_content":"a hint","content":"A river."},
        {"role":"user","content":"Is it?"},
        {"role":"assistant","reasoning_content":"sure","content":"It is."}]})"));
  // A later prompt has lost the first reasoning, so each reply is a document of its own.
  ASSERT_EQ(encoded.size(), 2U);
  EXPECT_EQ(counted_text(model, encoded[0]), std::string("a hint</think>A river.") + kEnd + "|");
  EXPECT_EQ(counted_text(model, encoded[1]), std::string("sure</think>It is.") + kEnd + "|");
  EXPECT_EQ(text_of(model, encoded[1]).find("a hint"), std::string::npos);
}

TEST(DocumentEncoder, ATemplatesTextBehindTheEndOfAReplyDoesNotCount) {
  constexpr const char* kChatMl =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
      "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
      "{{ '<|im_start|>assistant\n' }}{% endif %}";
  std::shared_ptr<const text::ChatFormat> format;
  try {
    format = text::make_template_format(kChatMl, {.bos = "", .eos = "<|im_end|>"}, "t");
  } catch (const Error&) {
    GTEST_FAIL() << "ChatML is a template that is known";
  }
  const text::TextModel model = model_with(format);
  const auto encoded = encode(model, talk(R"({"messages":[{"role":"user","content":"What is it?"},
        {"role":"assistant","content":"A river."},{"role":"user","content":"Is it?"},
        {"role":"assistant","content":"It is."}]})"));
  ASSERT_EQ(encoded.size(), 1U);
  EXPECT_EQ(counted_text(model, encoded[0]), "A river.<|im_end|>|It is.<|im_end|>|");
}

TEST(DocumentEncoder, WhatCannotBeTrainedOnIsNamed) {
  const text::TextModel model = v4_model();
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "talk.jsonl: line 1: messages: found no reply",
                 [&] { encode(model, talk(R"({"messages":[{"role":"user","content":"x"}]})")); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "talk.jsonl: line 1: messages[0].role", [&] {
    encode(model, talk(R"({"messages":[{"role":"robot","content":"x"}]})"));
  }));
  text::TextModel mute = model;
  mute.format = nullptr;
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "a model without a format", [&] {
    encode(mute, talk(R"({"messages":[{"role":"assistant","content":"x"}]})"));
  }));
  text::TextModel endless = model;
  endless.stop_ids.clear();
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "no token that ends a text",
                         [&] { DocumentEncoder{endless}; }));
}

}  // namespace
}  // namespace fathom::data
