#include "fathom/serve/openai/api_document.h"

namespace fathom::embedded {

// Made by cmake/FathomEmbed.cmake out of data/openapi.json.
std::string_view openapi_json();

}  // namespace fathom::embedded

namespace fathom::openai {

std::string_view api_document() {
  return embedded::openapi_json();
}

}  // namespace fathom::openai
