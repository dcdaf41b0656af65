// The body of POST /v1/responses, checked and turned into what the engine is asked for.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/model/text/json_field.h"
#include "fathom/model/text/json_value.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/openai/responses_tools.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

struct ResponsesRequest {
  std::string model;  // as asked for; empty: the first
  engine::GenerateRequest generate;
  ResponsesTools tools;
  // What the next request goes on from, without `instructions`.
  text::Conversation history;
  bool is_stream = false;
  bool is_stored = true;
  bool wants_sealed_reasoning = false;  // include: reasoning.encrypted_content
  bool has_logprobs = false;            // include: message.output_text.logprobs, or top_logprobs
  bool wants_summary = false;           // reasoning is told as its own summary
  std::string owner;                    // the API key's name
  // What the response repeats of the request: names and JSON.
  std::vector<std::pair<std::string, std::string>> echo;
};

// Throws InvalidArgument for what is wrong and Unsupported for what we cannot do, naming the field.
// Unknown fields are ignored: clients send many.
ResponsesRequest read_responses_request(const http::Request& request,
                                        const text::JsonValue& body,
                                        wire::Service& service);

}  // namespace fathom::openai
