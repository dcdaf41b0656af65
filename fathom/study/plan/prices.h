// Prices of APIs: which hold on a date, hour by hour of the week, each with its source.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/date.h"

namespace fathom::plan {

enum class TokenClass { Input, CachedInput, Output };
inline constexpr std::array kTokenClasses = {TokenClass::Input, TokenClass::CachedInput,
                                             TokenClass::Output};
std::string_view to_string(TokenClass token_class);  // "input", "cached_input", "output"

// Hour 0 of the week is Monday 00:00 UTC.
inline constexpr Index kHoursPerWeek = 168;
inline constexpr Index kMaxPriceAgeDays = 90;

struct PriceSource {
  std::string id;
  std::string title;
  Time read_on;
};

// One price, with all that it takes to look it up.
struct PriceLine {
  std::string provider;
  std::string model;   // as the table calls it: "flash"
  std::string serves;  // what answered under that name
  Time from;
  bool is_from_day_read = false;  // the table gives no date: known to hold on the day it was read
  TokenClass token_class = TokenClass::Input;
  std::string tariff;  // "always", "off_peak", or a window's name
  double usd_per_million_tokens = 0;
  PriceSource source;
  std::string note;
};

// Hours of the week in which a tariff applies.
struct TariffWindow {
  std::string provider;
  std::string name;
  std::array<bool, kHoursPerWeek> hours = {};
  std::string note;
};

// What one provider asks for one model on one date.
struct ApiPrices {
  std::string provider;
  std::string model;
  std::string serves;
  // [class][hour of the week]
  std::array<std::array<double, kHoursPerWeek>, kTokenClasses.size()> usd_per_million_tokens = {};
  std::vector<PriceLine> lines;    // where they come from
  std::vector<std::string> notes;  // of lines and windows, and that cached input costs as input
  Index age_days = 0;              // since the oldest source was read
  bool is_stale() const { return age_days > kMaxPriceAgeDays; }
  double usd(TokenClass token_class, Index hour_of_week) const;
};

class PriceTable {
 public:
  // Throws InvalidArgument naming file, line, row and field: negative prices, hours outside a day,
  // tariffs without hours, periods without a price for input or output, two prices for one thing.
  static PriceTable parse(std::string_view text, const std::string& name);
  // The table that comes with the program, data/prices.toml.
  static PriceTable builtin();

  // Throws InvalidArgument, listing what there is, for an unknown provider or model and for a date
  // before its first price.
  ApiPrices at(const std::string& provider, const std::string& model, Time when) const;

  const std::vector<PriceLine>& lines() const { return lines_; }
  const std::vector<TariffWindow>& windows() const { return windows_; }

 private:
  std::string name_;
  std::vector<PriceLine> lines_;
  std::vector<TariffWindow> windows_;
};

}  // namespace fathom::plan
