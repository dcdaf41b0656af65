// The machines of a profile on any bytes: machines whose text is read back the same, or
// InvalidArgument.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/machine.h"

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const fathom::plan::Machine& machine : fathom::plan::parse_machines(text, "fuzz.toml")) {
      const std::string saved = fathom::plan::machine_toml(machine);
      const auto again = fathom::plan::parse_machines(saved, "saved.toml");
      require(again.size() == 1 && fathom::plan::machine_toml(again.front()) == saved);
      const auto rate = machine.read_bytes_per_s(1e6);
      require(!rate || *rate > 0);
    }
  } catch (const fathom::Error& error) {
    require(error.code() == fathom::ErrorCode::InvalidArgument);
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
