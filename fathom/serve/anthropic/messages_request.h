// The body of POST /v1/messages, checked and turned into what the engine is asked for.
#pragma once

#include <string>

#include "fathom/model/text/json_value.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/wire/service.h"

namespace fathom::anthropic {

struct MessagesRequest {
  std::string model;  // as asked for; empty: the first
  engine::GenerateRequest generate;
  // The conversation that a thread goes on from, and how it is rendered.
  text::Conversation history;
  text::RenderOptions render;
  bool is_stream = false;
  bool is_thread = false;      // kept for `thread`
  bool shows_thinking = true;  // display: not "omitted"
  std::string owner;           // the API key's name
};

// Who asks: a message has to say how long it may become, a count of tokens does not.
enum class Purpose { Message, Count };

// Throws InvalidArgument for what is wrong, Unsupported for what we cannot do, NotFound for a
// thread that is not known (any more), naming the field. Unknown fields are ignored.
MessagesRequest read_messages_request(const http::Request& request,
                                      const text::JsonValue& body,
                                      wire::Service& service,
                                      Purpose purpose);

}  // namespace fathom::anthropic
