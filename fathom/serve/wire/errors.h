// Errors as the vendors' clients expect them.
#pragma once

#include <string>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::wire {

// The field that a message begins with by our convention (`messages[3].role: expected ...`), or
// nothing.
std::string_view field_of(std::string_view message);

// `{"error": {"message", "type", "param", "code"}}`, on one line.
std::string openai_error_json(ErrorCode code, std::string_view message);
// `{"type": "error", "error": {"type", "message"}, "request_id"}`, on one line.
std::string anthropic_error_json(ErrorCode code,
                                 std::string_view message,
                                 std::string_view request_id);

// What the server itself refuses, before a handler has it: in the shape of the API that the request
// is of (for http::ServerOptions::error_body).
http::Response server_error(int status, std::string_view message, const http::Request& request);

// Status, body and, where asking again later helps, Retry-After.
http::Response openai_error(const Error& error);
http::Response anthropic_error(const Error& error, std::string_view request_id);

}  // namespace fathom::wire
