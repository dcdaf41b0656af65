#include "fathom/serve/openai/completion_logprobs.h"

#include <string>

#include <gtest/gtest.h>

#include "tests/support/replay_engine.h"

namespace fathom::openai {
namespace {

using fathom::testing::v4_text_model;

TEST(CompletionLogprobs, OffsetsCountCharactersAndMapsHaveTheToken) {
  const text::Tokenizer& tokenizer = *v4_text_model().tokenizer;
  const auto ids = tokenizer.encode("é, Hello", text::ControlTokens::Plain);
  ASSERT_EQ(ids.size(), 3U);
  CompletionLogprobs logprobs(std::make_shared<const TokenTexts>(v4_text_model().tokenizer));
  const sampling::TokenLogprobs best = {.logprob = -0.5, .top = {{ids[1], -0.5}}};
  const sampling::TokenLogprobs other = {.logprob = -2, .top = {{ids[0], -0.25}}};
  logprobs.push(ids[0], nullptr);
  logprobs.push(ids[1], &best);
  EXPECT_EQ(logprobs.take(), R"({"tokens":["é",","],"token_logprobs":[null,-0.5],)"
                             R"("top_logprobs":[null,{",":-0.5}],"text_offset":[0,1]})");
  logprobs.push(ids[2], &other);
  EXPECT_EQ(logprobs.take(), R"({"tokens":[" Hello"],"token_logprobs":[-2],)"
                             R"("top_logprobs":[{"é":-0.25," Hello":-2}],"text_offset":[2]})");
}

}  // namespace
}  // namespace fathom::openai
