// Any text as a data.json: read or refused with one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/train/data/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto manifest = fathom::data::parse_manifest(text, "fuzz");
    if (fathom::data::parse_manifest(print_manifest(manifest), "again").shards != manifest.shards) {
      std::abort();
    }
  } catch (const fathom::Error& error) {
    const bool is_expected = error.code() == fathom::ErrorCode::InvalidArgument ||
                             error.code() == fathom::ErrorCode::Unsupported;
    if (!is_expected || std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
  return 0;
}
