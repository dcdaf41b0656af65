#include "fathom/study/plan/date.h"

#include <cstdio>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::plan {

using formats::quote;

Time now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

std::string date_text(Time time) {
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(time)};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

Time parse_date(const std::string& text, const std::string& field) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int length = 0;
  const bool is_shaped =
      text.size() == 10 &&
      std::sscanf(text.c_str(), "%4d-%2u-%2u%n", &year, &month, &day, &length) == 3 && length == 10;
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                         std::chrono::day{day}};
  if (!is_shaped || !date.ok()) {
    fail(ErrorCode::InvalidArgument, field, ": found ", quote(text),
         ", expected a date, 2026-08-16");
  }
  return Time{std::chrono::sys_days{date}};
}

}  // namespace fathom::plan
