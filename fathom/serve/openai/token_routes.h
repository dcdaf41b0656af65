// A model's tokenizer over HTTP: what lm-eval and llama.cpp's clients ask for (text
// specification 4.3), and prompts as a model gets them.
#pragma once

#include "fathom/model/text/json_value.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// All throw what reading the body throws.

// {prompt | content, add_special_tokens, parse_special} or a chat request ->
// {tokens, count, max_model_len, token_strs}. With `return_token_strs`, the tokens' spellings.
http::Response tokenize(const text::JsonValue& body,
                        const http::Request& request,
                        const wire::Service& service);

// {tokens} -> {prompt, content}: the same text, under the names of vLLM and llama.cpp.
http::Response detokenize(const text::JsonValue& body, const wire::Service& service);

// {tokenizer_class, bos_token, eos_token, pad_token, chat_template, model_max_length} of the first
// model.
http::Response tokenizer_info(const wire::Service& service);

// A chat request -> {prompt, tokens, count}: what the model would get.
http::Response render(const text::JsonValue& body,
                      const http::Request& request,
                      const wire::Service& service);

}  // namespace fathom::openai
