// The Messages API: POST /v1/messages and /v1/messages/count_tokens.
#pragma once

#include <memory>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

namespace fathom::anthropic {

// Also under /anthropic, where DeepSeek has it, and what Claude Code asks before anything else:
// /api/hello and HEAD /, open to everybody. Threads are kept as the service's options say.
void add_routes(http::Router& router, std::shared_ptr<wire::Service> service);

}  // namespace fathom::anthropic
