// Status line and headers of an answer, as bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::http {

struct ResponseHead {
  int status = 200;
  std::string content_type = {};  // empty: no body
  std::vector<Header> headers = {};
  std::optional<Index> content_length = {};
  bool is_chunked = false;
  bool keeps_alive = true;
  std::string request_id = {};
};

// Line breaks in names and values become spaces: a value cannot become a header of its own.
std::string to_bytes(const ResponseHead& head);

// "Not Found"; empty for a status without a name.
std::string_view reason_phrase(int status);

}  // namespace fathom::http
