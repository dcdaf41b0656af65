// What every wire format does with a request's body.
#pragma once

#include "fathom/model/text/json_value.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::wire {

// The body as a JSON object. Throws InvalidArgument saying what is wrong and where.
text::JsonValue parse_body(const http::Request& request);

}  // namespace fathom::wire
