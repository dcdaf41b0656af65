// Both JSON readers of configs on any bytes: they return a config that survives being written and
// read again, or throw one of the three errors that a bad file may cause.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/config/read_config.h"

namespace {

using fathom::Error;
using fathom::ErrorCode;
using fathom::config::ModelConfig;
using fathom::config::ParsedConfig;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void check_config(const ParsedConfig& parsed) {
  const auto plan = parsed.storage.value_or(fathom::config::storage_plan_from_name("bf16"));
  require(fathom::config::weight_bytes(parsed.model, plan).total() > 0);
  require(fathom::config::cache_bytes(parsed.model, parsed.model.max_context,
                                      fathom::config::kDoubleCache) > 0);
  ModelConfig expected = parsed.model;
  expected.unknown_keys.clear();
  require(
      fathom::config::parse_config_json(make_config_json(parsed.model, plan), "written").model ==
      expected);
}

std::optional<ParsedConfig> parse_or_refuse(const std::function<ParsedConfig()>& parse) {
  try {
    return parse();
  } catch (const Error& error) {
    require(error.code() == ErrorCode::InvalidCheckpoint ||
            error.code() == ErrorCode::Unsupported || error.code() == ErrorCode::InvalidArgument);
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
    return std::nullopt;
  }
}

void run(const std::function<ParsedConfig()>& parse) {
  if (const std::optional<ParsedConfig> parsed = parse_or_refuse(parse)) {
    check_config(*parsed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  run([text] { return fathom::config::parse_config_json(text, "config.json"); });
  run([text] { return fathom::config::parse_config_json(text, "config.json", text, "inference"); });
  run([text] { return fathom::config::parse_inference_config_json(text, "inference"); });
  return 0;
}
