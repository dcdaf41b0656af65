#include "fathom/study/plan/prices.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/formats/toml_table.h"

namespace fathom::embedded {
std::string_view prices_toml();  // cmake/FathomEmbed.cmake
}

namespace fathom::plan {
namespace {

using formats::quote;
using formats::TomlTable;

constexpr Index kHoursPerDay = 24;
constexpr std::string_view kAlways = "always";
constexpr std::string_view kOffPeak = "off_peak";
constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
// Dearer than anything: a slip of the decimal point or of the unit.
constexpr double kMaxUsdPerMillionTokens = 1e5;

std::vector<PriceSource> read_sources(const TomlTable& root) {
  std::vector<PriceSource> sources;
  for (const TomlTable& row : root.tables("source")) {
    PriceSource source{row.text("id"), row.text("title"), row.time("read_on")};
    for (const PriceSource& other : sources) {
      if (other.id == source.id) {
        row.refuse("id", "found " + quote(source.id) + " a second time");
      }
    }
    row.refuse_unread();
    sources.push_back(std::move(source));
  }
  return sources;
}

std::vector<Index> read_days(const TomlTable& row) {
  std::vector<Index> days;
  for (const std::string& name : row.texts("days")) {
    const auto* const found = std::find(kDays.begin(), kDays.end(), name);
    if (found == kDays.end()) {
      row.refuse("days", "found " + quote(name) + ", expected mon, tue, wed, thu, fri, sat or sun");
    }
    days.push_back(found - kDays.begin());
  }
  if (days.empty()) {
    row.refuse("days", "no day, expected at least one of mon to sun");
  }
  return days;
}

// [[1, 4], [6, 10]]: from the first hour to before the second.
void mark_hours(const TomlTable& row, TariffWindow& window) {
  const auto ranges = row.find_number_rows("hours_utc");
  if (!ranges || ranges->empty()) {
    row.refuse("hours_utc", "no hours, expected [[first, end]]");
  }
  const std::vector<Index> days = read_days(row);
  for (const std::vector<double>& range : *ranges) {
    const auto is_hour = [](double hour) {
      return hour >= 0 && hour <= kHoursPerDay && hour == static_cast<double>(Index(hour));
    };
    if (range.size() != 2 || !is_hour(range[0]) || !is_hour(range[1]) || range[0] >= range[1]) {
      row.refuse(
          "hours_utc",
          "expected pairs of whole hours of a day, [first, end] with 0 <= first < end <= 24");
    }
    for (const Index day : days) {
      for (Index hour = Index(range[0]); hour < Index(range[1]); ++hour) {
        window.hours[to_size(day * kHoursPerDay + hour)] = true;
      }
    }
  }
}

// An hour of a provider is in one window at most, and a window has a name of its own.
void check_apart(const TomlTable& row, const TariffWindow& window, const TariffWindow& other) {
  if (other.provider != window.provider) {
    return;
  }
  if (other.name == window.name) {
    row.refuse("name", "found " + quote(window.name) + " a second time for this provider");
  }
  for (std::size_t hour = 0; hour < window.hours.size(); ++hour) {
    if (other.hours[hour] && window.hours[hour]) {
      row.refuse("hours_utc", fmt::format("hour {} of the week is in tariff {} as well", hour,
                                          quote(other.name)));
    }
  }
}

std::vector<TariffWindow> read_windows(const TomlTable& root) {
  std::vector<TariffWindow> windows;
  for (const TomlTable& row : root.tables("tariff")) {
    TariffWindow window;
    window.provider = row.text("provider");
    window.name = row.text("name");
    window.note = row.find_text("note").value_or("");
    if (window.name == kAlways || window.name == kOffPeak) {
      row.refuse("name", "found " + quote(window.name) + ", which has no hours of its own");
    }
    mark_hours(row, window);
    for (const TariffWindow& other : windows) {
      check_apart(row, window, other);
    }
    row.refuse_unread();
    windows.push_back(std::move(window));
  }
  return windows;
}

const TariffWindow* find_window(const std::vector<TariffWindow>& windows,
                                const std::string& provider,
                                const std::string& name) {
  const auto found = std::find_if(windows.begin(), windows.end(), [&](const TariffWindow& window) {
    return window.provider == provider && window.name == name;
  });
  return found == windows.end() ? nullptr : &*found;
}

// What the lines of one [[price]] have in common.
PriceLine read_line(const TomlTable& row,
                    const std::vector<PriceSource>& sources,
                    const std::vector<TariffWindow>& windows) {
  PriceLine line;
  line.provider = row.text("provider");
  line.model = row.text("model");
  line.serves = row.find_text("serves").value_or(line.model);
  line.tariff = row.text("tariff");
  line.note = row.find_text("note").value_or("");
  const std::string source = row.text("source");
  const auto found = std::find_if(sources.begin(), sources.end(),
                                  [&](const PriceSource& other) { return other.id == source; });
  if (found == sources.end()) {
    row.refuse("source", "found " + quote(source) + ", but no [[source]] has that id");
  }
  line.source = *found;
  const std::optional<Time> from = row.find_time("from");
  line.from = from.value_or(line.source.read_on);
  line.is_from_day_read = !from;
  if (line.from > line.source.read_on) {
    row.refuse("from", "found " + date_text(line.from) + ", after its source was read on " +
                           date_text(line.source.read_on));
  }
  if (line.tariff != kAlways && line.tariff != kOffPeak &&
      find_window(windows, line.provider, line.tariff) == nullptr) {
    row.refuse("tariff",
               "found " + quote(line.tariff) +
                   ", expected always, off_peak or the name of a [[tariff]] of provider " +
                   quote(line.provider));
  }
  return line;
}

void read_prices(const TomlTable& row, PriceLine line, std::vector<PriceLine>& lines) {
  for (const TokenClass token_class : kTokenClasses) {
    const std::string field = std::string(to_string(token_class)) + "_usd_per_million_tokens";
    const std::optional<double> price = row.find_number(field);
    if (!price) {
      if (token_class != TokenClass::CachedInput) {
        row.refuse(field, "is missing, expected US dollars per million tokens");
      }
      continue;
    }
    if (!(*price >= 0 && *price <= kMaxUsdPerMillionTokens)) {
      row.refuse(field, fmt::format("found {}, expected US dollars per million tokens, 0 to {}",
                                    *price, kMaxUsdPerMillionTokens));
    }
    line.token_class = token_class;
    line.usd_per_million_tokens = *price;
    for (const PriceLine& other : lines) {
      const auto key = [](const PriceLine& of) {
        return std::tie(of.provider, of.model, of.from, of.token_class, of.tariff);
      };
      if (key(other) == key(line)) {
        row.refuse(field, "a second price for this provider, model, date and tariff");
      }
    }
    lines.push_back(line);
  }
}

// Lines of one provider and model that hold at the same time.
std::vector<PriceLine> lines_of(const std::vector<PriceLine>& lines,
                                const PriceLine& like,
                                Time from) {
  std::vector<PriceLine> found;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(found), [&](const PriceLine& line) {
    return line.provider == like.provider && line.model == like.model && line.from == from;
  });
  return found;
}

// Either one price for all hours, or one off peak and one for each window of the provider.
std::set<std::string> expected_tariffs(const std::set<std::string>& found,
                                       const std::vector<TariffWindow>& windows,
                                       const std::string& provider) {
  if (found.empty() || found.contains(std::string(kAlways))) {
    return found.empty() ? found : std::set<std::string>{std::string(kAlways)};
  }
  std::set<std::string> expected = {std::string(kOffPeak)};
  for (const TariffWindow& window : windows) {
    if (window.provider == provider) {
      expected.insert(window.name);
    }
  }
  return expected;
}

void check_tariffs(const std::vector<PriceLine>& period,
                   const std::vector<TariffWindow>& windows,
                   const std::string& name) {
  const PriceLine& first = period.front();
  for (const TokenClass token_class : kTokenClasses) {
    std::set<std::string> tariffs;
    for (const PriceLine& line : period) {
      if (line.token_class == token_class) {
        tariffs.insert(line.tariff);
      }
    }
    const std::set<std::string> expected = expected_tariffs(tariffs, windows, first.provider);
    if (tariffs != expected) {
      fail(ErrorCode::InvalidArgument, name, ": prices of provider ", quote(first.provider),
           ", model ", quote(first.model), " from ", date_text(first.from), ": ",
           to_string(token_class), ": found tariffs ", fmt::format("{}", fmt::join(tariffs, ", ")),
           ", expected ", fmt::format("{}", fmt::join(expected, ", ")));
    }
  }
}

void add_note(std::vector<std::string>& notes, const std::string& note) {
  if (!note.empty() && std::find(notes.begin(), notes.end(), note) == notes.end()) {
    notes.push_back(note);
  }
}

// Writes a price into the hours of its tariff.
void spread(const PriceLine& line, const std::vector<TariffWindow>& windows, ApiPrices& prices) {
  const TariffWindow* window = find_window(windows, line.provider, line.tariff);
  auto& hours = prices.usd_per_million_tokens[static_cast<std::size_t>(line.token_class)];
  for (std::size_t hour = 0; hour < hours.size(); ++hour) {
    const bool is_in_another = std::any_of(windows.begin(), windows.end(), [&](const auto& other) {
      return other.provider == line.provider && other.hours[hour];
    });
    const bool applies = window != nullptr        ? window->hours[hour]
                         : line.tariff == kAlways ? true
                                                  : !is_in_another;
    if (applies) {
      hours[hour] = line.usd_per_million_tokens;
    }
  }
  if (window != nullptr) {
    add_note(prices.notes, line.tariff + ": " + window->note);
  }
  add_note(prices.notes, line.note.empty() ? "" : line.tariff + ": " + line.note);
}

template <typename Get>
std::string choices(const std::vector<PriceLine>& lines, const Get& get) {
  std::set<std::string> names;
  for (const PriceLine& line : lines) {
    names.insert(get(line));
  }
  names.erase("");
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string_view to_string(TokenClass token_class) {
  constexpr std::array<std::string_view, kTokenClasses.size()> kNames = {"input", "cached_input",
                                                                         "output"};
  return kNames[static_cast<std::size_t>(token_class)];
}

double ApiPrices::usd(TokenClass token_class, Index hour_of_week) const {
  return usd_per_million_tokens[static_cast<std::size_t>(token_class)].at(to_size(hour_of_week));
}

PriceTable PriceTable::parse(std::string_view text, const std::string& name) {
  const TomlTable root = TomlTable::parse(text, name);
  const std::vector<PriceSource> sources = read_sources(root);
  PriceTable table;
  table.name_ = name;
  table.windows_ = read_windows(root);
  for (const TomlTable& row : root.tables("price")) {
    read_prices(row, read_line(row, sources, table.windows_), table.lines_);
    row.refuse_unread();
  }
  root.refuse_unread();
  if (table.lines_.empty()) {
    fail(ErrorCode::InvalidArgument, name, ": no [[price]], expected at least one");
  }
  for (const PriceLine& line : table.lines_) {
    check_tariffs(lines_of(table.lines_, line, line.from), table.windows_, name);
  }
  return table;
}

PriceTable PriceTable::builtin() {
  return parse(embedded::prices_toml(), "data/prices.toml");
}

ApiPrices PriceTable::at(const std::string& provider, const std::string& model, Time when) const {
  const PriceLine* first = nullptr;
  const PriceLine* newest = nullptr;
  for (const PriceLine& line : lines_) {
    if (line.provider != provider || line.model != model) {
      continue;
    }
    first = first == nullptr || line.from < first->from ? &line : first;
    if (line.from <= when && (newest == nullptr || line.from > newest->from)) {
      newest = &line;
    }
  }
  if (first == nullptr) {
    const auto of_provider = [&](const PriceLine& line) {
      return line.provider == provider ? line.model : std::string();
    };
    const std::string models = choices(lines_, of_provider);
    if (models.empty()) {
      fail(ErrorCode::InvalidArgument, name_, ": no price of provider ", quote(provider),
           ", expected one of ", choices(lines_, [](const auto& line) { return line.provider; }));
    }
    fail(ErrorCode::InvalidArgument, name_, ": provider ", quote(provider), " has no model ",
         quote(model), ", expected one of ", models);
  }
  if (newest == nullptr) {
    fail(ErrorCode::InvalidArgument, name_, ": provider ", quote(provider), ", model ",
         quote(model), ": no price on ", date_text(when), ", the first is from ",
         date_text(first->from));
  }
  ApiPrices prices;
  prices.provider = provider;
  prices.model = model;
  prices.serves = newest->serves;
  prices.lines = lines_of(lines_, *newest, newest->from);
  Time oldest = prices.lines.front().source.read_on;
  bool has_cached = false;
  for (const PriceLine& line : prices.lines) {
    spread(line, windows_, prices);
    oldest = std::min(oldest, line.source.read_on);
    has_cached = has_cached || line.token_class == TokenClass::CachedInput;
  }
  if (!has_cached) {
    auto& by_class = prices.usd_per_million_tokens;
    by_class[static_cast<std::size_t>(TokenClass::CachedInput)] =
        by_class[static_cast<std::size_t>(TokenClass::Input)];
    add_note(prices.notes, "the provider states no price of cached input: taken as input");
  }
  prices.age_days =
      std::max<Index>(0, std::chrono::duration_cast<std::chrono::days>(when - oldest).count());
  return prices;
}

}  // namespace fathom::plan
