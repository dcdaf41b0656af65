// What real clients sent to a recording server, from tests/data/clients.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/serve/http/exchange.h"

namespace fathom::testing {

struct RecordedRequest {
  std::string name;  // of the run, and the request's number in its file
  http::Request request;
  nlohmann::ordered_json body;      // null without one
  nlohmann::ordered_json response;  // {status, body} or {status, events}
};

// The requests of a file, in order, to paths that begin with `path`.
std::vector<RecordedRequest> read_recordings(const std::string& file, const std::string& path);

}  // namespace fathom::testing
