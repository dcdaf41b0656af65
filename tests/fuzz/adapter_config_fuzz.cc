// The reader of adapter_config.json on any bytes: what it reads survives being written and read
// again, or it throws one of the two errors that a bad file may cause.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/model/config/adapter_config.h"

namespace {

using fathom::Error;
using fathom::ErrorCode;
using fathom::config::AdapterConfig;
using fathom::config::parse_adapter_config;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const AdapterConfig config = parse_adapter_config(text, "adapter_config.json");
    const AdapterConfig again = parse_adapter_config(make_adapter_config(config), "written");
    require(again.rank == config.rank && again.alpha == config.alpha &&
            again.has_root_scale == config.has_root_scale &&
            again.rank_pattern == config.rank_pattern &&
            again.alpha_pattern == config.alpha_pattern && again.base_model == config.base_model &&
            again.target_modules == config.target_modules);
    config.scale_of("model.layers.0.self_attn.q_proj", config.rank);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::InvalidCheckpoint || error.code() == ErrorCode::Unsupported);
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
