// Any text as a JSON schema: it is compiled or refused, and every text it accepts is JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/automaton.h"
#include "fathom/model/sampling/front_ends.h"

#include "tests/fuzz/walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto found =
      fathom::fuzz::walk_or_refuse(text, [&] { return fathom::sampling::parse_json_schema(text); });
  if (found.has_value() && !nlohmann::json::accept(*found)) {
    std::abort();
  }
  return 0;
}
