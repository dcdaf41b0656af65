// Any bytes as the vocabulary of a GGUF file: it is read or refused, and what is read encodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::text;
  try {
    const auto header =
        fathom::formats::parse_gguf_header(std::as_bytes(std::span(data, size)), "fuzz");
    const auto tokenizer = Tokenizer::from_gguf(header, "fuzz");
    for (const ControlTokens mode : {ControlTokens::Recognised, ControlTokens::Plain}) {
      const auto ids = tokenizer->encode("ab <e> it's 12\n \xe4\xb8\xad\xff", mode);
      if (!fathom::formats::is_utf8(decode(*tokenizer, ids))) {
        std::abort();
      }
    }
  } catch (const fathom::Error& error) {
    if (error.code() != fathom::ErrorCode::InvalidCheckpoint &&
        error.code() != fathom::ErrorCode::Unsupported) {
      std::abort();
    }
  }
  return 0;
}
