// Any bytes as an .npy file: it is read or refused, and what is read fills the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto refuses = [&](const auto& parse) {
    try {
      parse();
    } catch (const fathom::Error& error) {
      if (error.code() != fathom::ErrorCode::InvalidArgument ||
          std::string_view(error.what()).find('\n') != std::string_view::npos) {
        std::abort();
      }
    }
  };
  refuses([&] {
    const auto header = fathom::formats::parse_npy_header(bytes, "fuzz");
    fathom::Index expected = fathom::formats::element_bytes(header.dtype);
    for (const fathom::Index dim : header.shape) {
      expected *= dim;
    }
    if (header.data_begin + expected != fathom::to_index(size)) {
      std::abort();
    }
  });
  refuses([&] { fathom::formats::parse_npy_integers(bytes, "fuzz"); });
  return 0;
}
