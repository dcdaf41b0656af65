#include "fathom/serve/wire/json_body.h"

#include "fathom/base/core/error.h"

namespace fathom::wire {

text::JsonValue parse_body(const http::Request& request) {
  if (request.body.empty()) {
    fail(ErrorCode::InvalidArgument, "request body: expected a JSON object, found nothing");
  }
  text::JsonValue body = text::parse_json(request.body, "request body");
  if (body.kind != text::JsonValue::Kind::Object) {
    fail(ErrorCode::InvalidArgument, "request body: expected a JSON object");
  }
  return body;
}

}  // namespace fathom::wire
