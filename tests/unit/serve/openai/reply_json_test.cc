#include "fathom/serve/openai/reply_json.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/replay_engine.h"

namespace fathom::openai {
namespace {

using fathom::testing::v4_text_model;
using Json = nlohmann::json;
using EventKind = text::ReplyEvent::Kind;

engine::ReplyDelta delta(const std::string& text,
                         bool is_reasoning,
                         std::vector<text::ReplyEvent> events) {
  engine::ReplyDelta result;
  result.token.emplace();
  result.token->id =
      v4_text_model().tokenizer->encode(text, text::ControlTokens::Recognised).front();
  result.token->bytes = text;
  result.token->is_reasoning = is_reasoning;
  result.token->logprobs.logprob = -0.5;
  result.events = std::move(events);
  return result;
}

text::ReplyEvent event(EventKind kind, std::string text) {
  return {.kind = kind, .text = std::move(text)};
}

std::string tokens_of(const std::string& json, const char* list) {
  const Json logprobs = Json::parse(json);
  std::string text;
  for (const Json& entry : logprobs[list]) {
    text += entry["token"].get<std::string>() + "|";
  }
  return text;
}

TEST(Usage, AddsUpAndCountsWhatWasCached) {
  const engine::Usage sum = engine::Usage{10, 4, 7, 3} + engine::Usage{1, 1, 1, 1};
  wire::JsonWriter json;
  write_usage(json, sum);
  const Json usage = Json::parse(json.take());
  EXPECT_EQ(usage["prompt_tokens"], 11);
  EXPECT_EQ(usage["completion_tokens"], 8);
  EXPECT_EQ(usage["total_tokens"], 19);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 5);
  EXPECT_EQ(usage["prompt_cache_hit_tokens"], 5);
  EXPECT_EQ(usage["prompt_cache_miss_tokens"], 6);
  EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"], 4);
}

TEST(ChatLogprobs, GoOutWithTheTextThatIsHeldBack) {
  ChatLogprobs logprobs(std::make_shared<const TokenTexts>(v4_text_model().tokenizer));
  logprobs.push(delta("ST", false, {}));
  EXPECT_EQ(tokens_of(logprobs.take(), "content"), "");
  logprobs.push(delta("ar", false, {event(EventKind::Content, "STar")}));
  EXPECT_EQ(tokens_of(logprobs.take(), "content"), "ST|ar|");
  EXPECT_EQ(tokens_of(logprobs.take(), "content"), "");
}

TEST(ChatLogprobs, NewlinesInFrontAreNotShownAndHaveNone) {
  ChatLogprobs logprobs(std::make_shared<const TokenTexts>(v4_text_model().tokenizer));
  logprobs.push(delta("\n\n", false, {}));
  logprobs.push(delta("a", false, {event(EventKind::Content, "a")}));
  logprobs.push(delta("\n", false, {}));
  logprobs.push(delta("b", false, {event(EventKind::Content, "\nb")}));
  EXPECT_EQ(tokens_of(logprobs.take(), "content"), "a|\n|b|");
}

TEST(ChatLogprobs, ReasoningHasAListOfItsOwn) {
  ChatLogprobs logprobs(std::make_shared<const TokenTexts>(v4_text_model().tokenizer));
  logprobs.push(delta("so", true, {event(EventKind::Reasoning, "so")}));
  logprobs.push(delta("</think>", true, {}));
  logprobs.push(delta("yes", false, {event(EventKind::Content, "yes")}));
  const std::string json = logprobs.take();
  EXPECT_EQ(tokens_of(json, "reasoning_content"), "so|");
  EXPECT_EQ(tokens_of(json, "content"), "yes|");
}

TEST(ChatLogprobs, MarkupOfACallIsNoContent) {
  ChatLogprobs logprobs(std::make_shared<const TokenTexts>(v4_text_model().tokenizer));
  logprobs.push(delta("yes", false, {event(EventKind::Content, "yes")}));
  logprobs.push(delta("<", false, {}));
  logprobs.push(delta("｜DSML｜", false, {}));
  logprobs.push(delta("inv", false, {event(EventKind::CallBegin, "f")}));
  logprobs.push(delta("a", false, {event(EventKind::CallArguments, "{}")}));
  EXPECT_EQ(tokens_of(logprobs.take(), "content"), "yes|");
}

}  // namespace
}  // namespace fathom::openai
