// Fields of a request's body that mean the same in several wire formats.
//
// All throw InvalidArgument naming the field; an absent or null field leaves what is there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/json_field.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::wire {

// temperature, top_p, top_k, min_p, typical_p, repetition_penalty, presence_penalty,
// frequency_penalty, logit_bias and seed. A top_k of -1 is none, a top_p of 0 the most likely
// token.
void read_sampling(const text::JsonField& body, engine::GenerateRequest& request);

// stop_token_ids, ignore_eos, priority and timeout (seconds).
void read_scheduling(const text::JsonField& body, engine::GenerateRequest& request);

// A string or up to 16 of them, none of them empty.
std::vector<std::string> read_stop_strings(const text::JsonField& field);

// Token ids, each at least 0.
std::vector<engine::TokenId> read_token_ids(const text::JsonField& field);

// What content has to be by vLLM's fields: structured_outputs.{json, regex, choice, grammar} and
// guided_{json, regex, choice, grammar}; at most one of them. The path of the field that says it;
// empty: none does.
std::string read_structured_outputs(const text::JsonField& body, engine::ContentRule& rule);

// Prefixes of prompts are shared by what one API key asks for one user.
std::string cache_scope(const http::Request& request, std::string_view user);

}  // namespace fathom::wire
