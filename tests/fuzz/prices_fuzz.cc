// The price table on any bytes: a table whose every price can be looked up, or InvalidArgument.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/prices.h"

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void check_table(const fathom::plan::PriceTable& table) {
  for (const fathom::plan::PriceLine& line : table.lines()) {
    const auto prices = table.at(line.provider, line.model, line.from);
    require(!prices.lines.empty() && prices.age_days >= 0);
    for (const auto token_class : fathom::plan::kTokenClasses) {
      for (fathom::Index hour = 0; hour < fathom::plan::kHoursPerWeek; ++hour) {
        require(prices.usd(token_class, hour) >= 0);
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check_table(fathom::plan::PriceTable::parse(text, "prices.toml"));
  } catch (const fathom::Error& error) {
    require(error.code() == fathom::ErrorCode::InvalidArgument);
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
