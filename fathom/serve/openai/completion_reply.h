// POST /v1/completions: the answer, whole or as a stream.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fathom/serve/engine/prepared_request.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/openai/reply_json.h"
#include "fathom/serve/openai/token_texts.h"
#include "fathom/serve/wire/delivery.h"

namespace fathom::openai {

// What an answer repeats of a prompt.
struct PromptEcho {
  std::string text = {};
  // The tokens of the text; a BOS that was put in front of it is none of them.
  std::vector<text::TokenId> ids = {};
  Index num_hidden = 0;  // tokens of the prompt in front of `ids`
};

// `request` is as the client sent it, `prepared` what became of it.
PromptEcho echo_of(const engine::Prompt& prompt,
                   const engine::PreparedRequest& prepared,
                   const TokenTexts& texts);

struct CompletionReplyOptions {
  ReplyHead head;
  Index num_choices = 1;   // of each prompt, in the answer
  Index num_computed = 1;  // of each prompt; the best of them are answered
  bool includes_usage = false;
  bool has_logprobs = false;
  // For each prompt; empty texts where nothing is echoed.
  std::vector<PromptEcho> echoes;
};

// One JSON object when all prompts are served: choices in the order of the prompts, of each its
// choices.
std::shared_ptr<wire::ReplyWriter> make_completion_answer(http::ExchangePtr exchange,
                                                          std::shared_ptr<const TokenTexts> texts,
                                                          CompletionReplyOptions options);
std::shared_ptr<wire::ReplyWriter> make_completion_stream(http::ExchangePtr exchange,
                                                          std::shared_ptr<const TokenTexts> texts,
                                                          CompletionReplyOptions options);

}  // namespace fathom::openai
