// Any text as a file of API keys: keys, or InvalidArgument on one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/serve/http/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool is_right = true;
  try {
    for (const fathom::http::ApiKey& key : fathom::http::parse_keys(text, "keys", {}).keys) {
      is_right = is_right && !key.name.empty() && key.digest.size() == 32 &&
                 key.limits.num_concurrent >= 0 && key.limits.num_per_minute >= 0;
    }
  } catch (const fathom::Error& error) {
    is_right = error.code() == fathom::ErrorCode::InvalidArgument &&
               std::string_view(error.what()).find('\n') == std::string_view::npos;
  }
  if (!is_right) {
    std::abort();
  }
  return 0;
}
