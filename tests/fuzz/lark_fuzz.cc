// Any text as a grammar in the notation of lark: it is compiled or refused, and its walks meet no
// dead end.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fathom/model/sampling/automaton.h"
#include "fathom/model/sampling/front_ends.h"

#include "tests/fuzz/walk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fathom::fuzz::walk_or_refuse(text, [&] { return fathom::sampling::parse_lark(text); });
  return 0;
}
