// Log-probabilities of a completion: parallel lists over its tokens (text specification 4.3).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/model/sampling/sampler.h"
#include "fathom/serve/openai/token_texts.h"

namespace fathom::openai {

class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(std::shared_ptr<const TokenTexts> texts) : texts_(std::move(texts)) {}

  // A token without log-probabilities, as the first of a prompt is, has nulls.
  void push(text::TokenId id, const sampling::TokenLogprobs* logprobs);
  // `{"tokens", "token_logprobs", "top_logprobs", "text_offset"}` of the tokens since the last
  // time. Offsets count characters from the beginning of the text. Each entry of top_logprobs is a
  // map from the likeliest tokens and the token itself.
  std::string take();

 private:
  struct Entry {
    text::TokenId id = 0;
    Index offset = 0;
    std::optional<sampling::TokenLogprobs> logprobs;
  };

  std::shared_ptr<const TokenTexts> texts_;
  std::vector<Entry> entries_;
  Index offset_ = 0;
};

}  // namespace fathom::openai
