// Any bytes as a safetensors file: they are read or refused.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    fathom::formats::parse_safetensors_header(std::as_bytes(std::span(data, size)), "fuzz");
  } catch (const fathom::Error& error) {
    // Anything else than a refusal of the file is a bug; other exceptions end the process by
    // themselves.
    if (error.code() != fathom::ErrorCode::InvalidCheckpoint) {
      std::abort();
    }
  }
  return 0;
}
