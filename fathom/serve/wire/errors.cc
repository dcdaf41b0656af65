#include "fathom/serve/wire/errors.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace fathom::wire {
namespace {

using Json = nlohmann::ordered_json;

// What the vendors call each kind of error.
struct ErrorNames {
  std::string_view openai_type;
  std::string_view openai_code;  // empty: null
  std::string_view anthropic_type;
};

ErrorNames names_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::InvalidArgument:
      return {"invalid_request_error", "invalid_value", "invalid_request_error"};
    case ErrorCode::Unsupported:
      return {"invalid_request_error", "unsupported_value", "invalid_request_error"};
    case ErrorCode::ContextTooLong:
      return {"invalid_request_error", "context_length_exceeded", "invalid_request_error"};
    case ErrorCode::NotFound:
      return {"invalid_request_error", "not_found", "not_found_error"};
    case ErrorCode::Overloaded:
      return {"rate_limit_error", "rate_limit_exceeded", "rate_limit_error"};
    case ErrorCode::Unavailable:
    case ErrorCode::Interrupted:
      return {"server_error", "service_unavailable", "overloaded_error"};
    case ErrorCode::OutOfMemory:
      return {"server_error", "insufficient_system_resource", "overloaded_error"};
    case ErrorCode::InvalidCheckpoint:
    case ErrorCode::Io:
    case ErrorCode::Internal:
      return {"server_error", "", "api_error"};
  }
  return {"server_error", "", "api_error"};
}

// The code that clients look for, where it is finer than ours.
std::string_view openai_code(ErrorCode code, std::string_view field) {
  if (code == ErrorCode::NotFound && field == "model") {
    return "model_not_found";
  }
  // A part of a message: clients may leave it out and ask again.
  if (code == ErrorCode::Unsupported && field.find("content[") != std::string_view::npos) {
    return "unsupported_content";
  }
  return names_of(code).openai_code;
}

// The same for what has no code of ours: refused before anybody read the request.
ErrorNames names_of_status(int status) {
  switch (status) {
    case 401:
      return {"invalid_request_error", "invalid_api_key", "authentication_error"};
    case 403:
      return {"invalid_request_error", "forbidden", "permission_error"};
    case 404:
      return names_of(ErrorCode::NotFound);
    case 405:
      return {"invalid_request_error", "method_not_allowed", "invalid_request_error"};
    case 408:
      return {"invalid_request_error", "request_timeout", "timeout_error"};
    case 413:
      return {"invalid_request_error", "request_too_large", "request_too_large"};
    case 429:
      return names_of(ErrorCode::Overloaded);
    case 503:
      return names_of(ErrorCode::Unavailable);
    default:
      return names_of(status >= 500 ? ErrorCode::Internal : ErrorCode::InvalidArgument);
  }
}

// Messages may quote what a client sent: bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A field or code that is empty is null.
std::string openai_json(std::string_view type,
                        std::string_view code,
                        std::string_view field,
                        std::string_view message) {
  return dump({{"error",
                {{"message", message},
                 {"type", type},
                 {"param", field.empty() ? Json() : Json(field)},
                 {"code", code.empty() ? Json() : Json(code)}}}});
}

std::string anthropic_json(std::string_view type,
                           std::string_view message,
                           std::string_view request_id) {
  Json json = {{"type", "error"}, {"error", {{"type", type}, {"message", message}}}};
  if (!request_id.empty()) {
    json["request_id"] = request_id;
  }
  return dump(json);
}

http::Response response(const Error& error, std::string body) {
  http::Response result{.status = http_status(error.code()), .body = std::move(body)};
  if (error.code() == ErrorCode::Overloaded || error.code() == ErrorCode::Unavailable) {
    result.headers.push_back({"Retry-After", "1"});
  }
  return result;
}

}  // namespace

std::string_view field_of(std::string_view message) {
  const std::size_t end = message.find(": ");
  if (end == std::string_view::npos || end == 0) {
    return {};
  }
  const std::string_view field = message.substr(0, end);
  const bool is_path = std::all_of(field.begin(), field.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '[' || c == ']';
  });
  return is_path ? field : std::string_view{};
}

std::string openai_error_json(ErrorCode code, std::string_view message) {
  const std::string_view field = field_of(message);
  return openai_json(names_of(code).openai_type, openai_code(code, field), field, message);
}

std::string anthropic_error_json(ErrorCode code,
                                 std::string_view message,
                                 std::string_view request_id) {
  return anthropic_json(names_of(code).anthropic_type, message, request_id);
}

http::Response server_error(int status, std::string_view message, const http::Request& request) {
  const bool is_anthropic =
      request.path.starts_with("/v1/messages") || !request.header("anthropic-version").empty();
  const ErrorNames names = names_of_status(status);
  return {.status = status,
          .body = is_anthropic ? anthropic_json(names.anthropic_type, message, request.request_id)
                               : openai_json(names.openai_type, names.openai_code, {}, message)};
}

http::Response openai_error(const Error& error) {
  return response(error, openai_error_json(error.code(), error.what()));
}

http::Response anthropic_error(const Error& error, std::string_view request_id) {
  return response(error, anthropic_error_json(error.code(), error.what(), request_id));
}

}  // namespace fathom::wire
