// Moments and their dates, UTC, as tables of prices and of machines name them.
#pragma once

#include <chrono>
#include <string>

namespace fathom::plan {

using Time = std::chrono::sys_seconds;

Time now();
std::string date_text(Time time);  // "2026-08-16"
// "2026-08-16"; throws InvalidArgument naming `field` for anything else.
Time parse_date(const std::string& text, const std::string& field);

}  // namespace fathom::plan
