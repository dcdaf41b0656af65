// POST /v1/chat/completions: what a client asks for (text specification 3.2, 4.2).
#pragma once

#include <string>

#include "fathom/model/text/json_value.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

struct ChatRequest {
  engine::GenerateRequest generate;
  std::string model;  // as the client calls it; may be empty
  bool is_streamed = false;
  bool includes_usage = false;  // a last chunk with it
  bool has_logprobs = false;
  std::string constraint_field = {};  // the field that constrains the content
};

// Unknown fields are ignored. Throws InvalidArgument for a field of the wrong type or out of range,
// Unsupported for what this server cannot do; both name the field.
ChatRequest read_chat(const text::JsonValue& body,
                      const http::Request& request,
                      const wire::ServiceOptions& options);

}  // namespace fathom::openai
