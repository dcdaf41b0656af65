// Any bytes as tokenizer.json: it is read or refused, and what is read encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fathom::text;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = Tokenizer::parse_json(json, "fuzz");
    for (const ControlTokens mode : {ControlTokens::Recognised, ControlTokens::Plain}) {
      const auto ids = tokenizer->encode("ab <e> it's 12\n \xe4\xb8\xad\xff", mode);
      if (!fathom::formats::is_utf8(decode(*tokenizer, ids))) {
        std::abort();
      }
    }
  } catch (const fathom::Error& error) {
    if ((error.code() != fathom::ErrorCode::InvalidCheckpoint &&
         error.code() != fathom::ErrorCode::Unsupported) ||
        std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
  return 0;
}
