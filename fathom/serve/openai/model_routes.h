// GET /v1/models and /v1/models/{id}, in the shape that the client's API has.
#pragma once

#include <string_view>

#include "fathom/serve/http/exchange.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// Both throw Unavailable before models are served.

// Of the Anthropic API when the request has its version header, else of OpenAI's.
http::Response list_models(const http::Request& request, const wire::Service& service);

// 404 for a name that is not served, also where names are not strict.
http::Response show_model(const http::Request& request,
                          std::string_view name,
                          const wire::Service& service);

}  // namespace fathom::openai
