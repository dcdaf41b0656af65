// Any text as a list of token ids: it is read or refused.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"
#include "fathom/base/formats/token_list.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto ids = fathom::formats::parse_token_list(text, "fuzz");
    if (fathom::to_index(ids.size()) != std::count(text.begin(), text.end(), ',') + 1) {
      std::abort();
    }
  } catch (const fathom::Error& error) {
    if (error.code() != fathom::ErrorCode::InvalidArgument ||
        std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
  return 0;
}
