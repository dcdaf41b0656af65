// POST /v1/completions: what a client asks for (text specification 3.6, 4.3).
#pragma once

#include <string>
#include <vector>

#include "fathom/model/text/json_value.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::openai {

struct CompletionRequest {
  // One for each prompt; alike but for it.
  std::vector<engine::GenerateRequest> generate;
  std::string model;      // as the client calls it; may be empty
  Index num_choices = 1;  // of each prompt, that are answered
  bool is_streamed = false;
  bool includes_usage = false;
  bool echoes_prompt = false;
  bool has_logprobs = false;
  std::string constraint_field = {};
};

// Unknown fields are ignored. Throws InvalidArgument for a field of the wrong type or out of range,
// Unsupported for what this server cannot do; both name the field.
CompletionRequest read_completion(const text::JsonValue& body, const http::Request& request);

}  // namespace fathom::openai
