// The Responses API: POST /v1/responses, GET and DELETE /v1/responses/{id}.
#pragma once

#include <memory>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// Also without the /v1 in front. Conversations are kept as the service's options say.
void add_responses_routes(http::Router& router, const std::shared_ptr<wire::Service>& service);

}  // namespace fathom::openai
