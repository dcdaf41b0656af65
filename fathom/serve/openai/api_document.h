// GET /openapi.json: every endpoint of the server as an OpenAPI 3.1 document (data/openapi.json).
#pragma once

#include <string_view>

namespace fathom::openai {

std::string_view api_document();

}  // namespace fathom::openai
