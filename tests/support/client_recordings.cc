#include "tests/support/client_recordings.h"

#include <fstream>
#include <stdexcept>
#include <utility>

namespace fathom::testing {

std::vector<RecordedRequest> read_recordings(const std::string& file, const std::string& path) {
  std::ifstream lines(std::string(FATHOM_SOURCE_DIR "/tests/data/clients/") + file + ".jsonl");
  std::vector<RecordedRequest> recordings;
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::ordered_json::parse(line);
    const auto& sent = record["request"];
    RecordedRequest recorded = {
        .name = record["run"].get<std::string>() + " " + std::to_string(record["seq"].get<int>()),
        .request = {.method = sent["method"], .path = sent["path"], .query = sent["query"]},
        .body = sent["body"],
        .response = record["response"]};
    if (recorded.request.path.substr(0, path.size()) != path) {
      continue;
    }
    for (const auto& header : sent["headers"]) {
      recorded.request.headers.push_back({header[0], header[1]});
    }
    if (!recorded.body.is_null()) {
      recorded.request.body = recorded.body.dump();
    }
    recordings.push_back(std::move(recorded));
  }
  if (recordings.empty()) {
    throw std::runtime_error("no recordings of " + path + " in " + file);
  }
  return recordings;
}

}  // namespace fathom::testing
