#include "fathom/model/text/chat_format.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "fathom/model/text/conversation_json.h"

namespace fathom::text {
namespace {

bool stops_at(const ChatFormat& format, const std::string& text) {
  const std::vector<std::string>& stops = format.stop_texts();
  return std::find(stops.begin(), stops.end(), text) != stops.end();
}

TEST(ChatFormats, V4AnswersInDsmlAndStopsAtEveryHeadOfATurn) {
  const auto format = make_v4_format(dialect_from_name("0731"));
  EXPECT_EQ(format->name(), "0731");
  EXPECT_EQ(format->reply_style(), ReplyStyle::Dsml);
  EXPECT_EQ(format->stop_texts().size(), 5U);
  EXPECT_TRUE(stops_at(*format, "<｜end▁of▁sentence｜>"));
  EXPECT_TRUE(stops_at(*format, "<｜latest_reminder｜>"));
  EXPECT_EQ(text_of(format->render(
                read_conversation(R"([{"role":"user","content":"A"}])", "test").conversation,
                {.thinking = false})),
            "<｜begin▁of▁sentence｜><｜User｜>A<｜Assistant｜></think>");
}

TEST(ChatFormats, ATemplateAnswersPlainlyAndStopsAtItsEndOfTurn) {
  const auto format = make_template_format(
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
      "+ '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
      "'<|im_start|>assistant\n' }}{% endif %}",
      {.bos = "", .eos = "<|endoftext|>"}, "x");
  EXPECT_EQ(format->name(), "chatml");
  EXPECT_EQ(format->reply_style(), ReplyStyle::Plain);
  EXPECT_EQ(format->stop_texts(), (std::vector<std::string>{"<|im_end|>", "<|endoftext|>"}));
  EXPECT_EQ(text_of(format->render(
                read_conversation(R"([{"role":"user","content":"A"}])", "test").conversation, {})),
            "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n");
}

TEST(OpensReasoning, TheLastThinkTagOfOursDecides) {
  const auto opens = [](const std::string& json) {
    const ConversationFile file = read_conversation(json, "test");
    return opens_reasoning(
        make_v4_format(dialects().front())->render(file.conversation, file.options));
  };
  EXPECT_TRUE(opens(R"([{"role":"user","content":"</think>"}])"));
  EXPECT_FALSE(
      opens(R"({"thinking_mode":"chat","messages":[{"role":"user","content":"<think>"}]})"));
  EXPECT_TRUE(opens(R"({"model":"m","messages":[{"role":"user","content":"A"},
                        {"role":"assistant","reasoning_content":"</think>"}]})"));
  EXPECT_FALSE(opens(R"({"model":"m","messages":[{"role":"user","content":"A"},
                         {"role":"assistant","reasoning_content":"r","content":"x"}]})"));
  EXPECT_FALSE(opens_reasoning({}));
}

}  // namespace
}  // namespace fathom::text
