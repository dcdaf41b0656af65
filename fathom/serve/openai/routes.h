// The OpenAI-compatible endpoints: chat completions, completions, models, tokenizer.
#pragma once

#include <memory>
#include <string>

#include "fathom/serve/http/router.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// Each path at the root, under /v1 and, where DeepSeek's clients look for it, under /beta.
void add_routes(http::Router& router, std::shared_ptr<wire::Service> service);

}  // namespace fathom::openai
