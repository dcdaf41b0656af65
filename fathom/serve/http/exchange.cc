#include "fathom/serve/http/exchange.h"

#include <algorithm>

#include "fathom/serve/http/field_value.h"

namespace fathom::http {

std::string_view Request::header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const Header& header) {
    return equal_ignoring_case(header.name, name);
  });
  return found == headers.end() ? std::string_view{} : std::string_view(found->value);
}

}  // namespace fathom::http
