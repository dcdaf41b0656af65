// toml++ asserts that a key begins with a character of keys, which a hostile file need not do
// ("[#]"). Behind the assertion it checks that again and reports it, so the assertions are taken
// out: with NDEBUG, clang would take them for granted instead.
#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)  // NOLINT(readability-identifier-naming)

#include "fathom/base/formats/toml_table.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {

struct TomlTable::State {
  std::shared_ptr<const toml::table> root;  // keeps `table` alive
  const toml::table* table;
  std::string name;
  std::string label;  // ": [[price]] 3", or nothing at the root
  std::set<std::string, std::less<>> read = {};

  const toml::node* find(std::string_view key) {
    read.emplace(key);
    return table->get(key);
  }
};

namespace {

std::string at_line(const std::string& name, const toml::source_region& source) {
  return source.begin ? name + ":" + std::to_string(source.begin.line) : name;
}

std::string kind_of(const toml::node& node) {
  std::string kind;
  kind += toml::impl::node_type_friendly_names[static_cast<std::size_t>(node.type())];
  return "a value of type " + kind;
}

std::optional<double> number_of(const toml::node& node) {
  const bool is_number = node.is_integer() || node.is_floating_point();
  const std::optional<double> value = is_number ? node.value<double>() : std::nullopt;
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<std::vector<double>> numbers_of(const toml::node& node) {
  const toml::array* array = node.as_array();
  if (array == nullptr) {
    return std::nullopt;
  }
  std::vector<double> numbers;
  for (const toml::node& element : *array) {
    const std::optional<double> number = number_of(element);
    if (!number) {
      return std::nullopt;
    }
    numbers.push_back(*number);
  }
  return numbers;
}

std::optional<std::chrono::sys_days> day_of(const toml::date& date) {
  const std::chrono::year_month_day day{std::chrono::year{date.year},
                                        std::chrono::month{date.month}, std::chrono::day{date.day}};
  return day.ok() ? std::optional(std::chrono::sys_days{day}) : std::nullopt;
}

std::optional<std::chrono::sys_seconds> time_of(const toml::node& node) {
  if (const std::optional<toml::date> date = node.value<toml::date>(); date && node.is_date()) {
    const auto day = day_of(*date);
    return day ? std::optional<std::chrono::sys_seconds>(*day) : std::nullopt;
  }
  const std::optional<toml::date_time> moment = node.value<toml::date_time>();
  if (!node.is_date_time() || !moment || !moment->offset) {
    return std::nullopt;
  }
  const auto day = day_of(moment->date);
  if (!day) {
    return std::nullopt;
  }
  return std::chrono::sys_seconds{*day} + std::chrono::hours{moment->time.hour} +
         std::chrono::minutes{moment->time.minute} + std::chrono::seconds{moment->time.second} -
         std::chrono::minutes{moment->offset->minutes};
}

// The end of the comment or string that begins at `at`; at + 1 where neither begins there.
std::size_t skip_text(std::string_view text, std::size_t at) {
  const char quote_mark = text[at];
  const auto end_behind = [&](std::size_t found, std::size_t length) {
    return found == std::string_view::npos ? text.size() : found + length;
  };
  if (quote_mark == '#') {
    return end_behind(text.find('\n', at), 0);
  }
  if (quote_mark == '\'') {
    const std::string_view mark = text.substr(at).starts_with("'''") ? "'''" : "'";
    return end_behind(text.find(mark, at + mark.size()), mark.size());
  }
  if (quote_mark != '"' || text.substr(at).starts_with("\"\"\"")) {
    return at + 1;
  }
  for (++at; at < text.size() && text[at] != '"' && text[at] != '\n'; ++at) {
    at += text[at] == '\\' ? 1U : 0U;
  }
  return std::min(at + 1, text.size());
}

// toml++ 3.3 does not survive characters beyond ASCII outside of comments: asked whether U+00E9 is
// white space, it reaches what it declares unreachable. It asks so of every character of a value
// that it does not know yet, quotes among them.
void check_ascii(std::string_view text, const std::string& name) {
  constexpr unsigned char kFirstBeyond = 0x80;
  const auto is_beyond = [](char letter) {
    return static_cast<unsigned char>(letter) >= kFirstBeyond;
  };
  std::size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0;  // a byte order mark
  while (at < text.size()) {
    const std::size_t end = skip_text(text, at);
    const std::string_view piece = text.substr(at, end - at);
    if (piece.front() != '#' && std::any_of(piece.begin(), piece.end(), is_beyond)) {
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<Index>(at), '\n');
      fail(ErrorCode::InvalidArgument, name, ":", line,
           ": not TOML that is read here: a character beyond ASCII outside of a comment (in "
           "strings, write \\u00e9)");
    }
    at = end;
  }
}

}  // namespace

TomlTable TomlTable::parse(std::string_view text, const std::string& name) {
  check_ascii(text, name);
  try {
    auto root = std::make_shared<const toml::table>(toml::parse(text, name));
    return TomlTable(std::make_shared<State>(State{root, root.get(), name, ""}));
  } catch (const toml::parse_error& error) {
    fail(ErrorCode::InvalidArgument, at_line(name, error.source()),
         ": not TOML: ", quote(error.description()));
  }
}

std::string TomlTable::place() const {
  return at_line(state_->name, state_->table->source()) + state_->label;
}

void TomlTable::refuse(std::string_view key, const std::string& why) const {
  const toml::node* node = state_->table->get(key);
  const toml::source_region& at = node != nullptr ? node->source() : state_->table->source();
  fail(ErrorCode::InvalidArgument, at_line(state_->name, at), state_->label, ": ", key, ": ", why);
}

void TomlTable::refuse_unread() const {
  for (const auto& [key, node] : *state_->table) {
    if (!state_->read.contains(key.str())) {
      fail(ErrorCode::InvalidArgument, at_line(state_->name, node.source()), state_->label,
           ": unknown key ", quote(key.str()));
    }
  }
}

std::optional<std::string> TomlTable::find_text(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const std::optional<std::string> text = node->value<std::string>();
  if (!node->is_string() || !text) {
    refuse(key, "found " + kind_of(*node) + ", expected a string");
  }
  return text;
}

std::string TomlTable::text(std::string_view key) const {
  const std::optional<std::string> text = find_text(key);
  if (!text) {
    refuse(key, "is missing, expected a string");
  }
  return *text;
}

std::vector<std::string> TomlTable::texts(std::string_view key) const {
  const toml::node* node = state_->find(key);
  std::vector<std::string> texts;
  if (node == nullptr) {
    return texts;
  }
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    refuse(key, "found " + kind_of(*node) + ", expected a list of strings");
  }
  for (const toml::node& element : *array) {
    if (!element.is_string()) {
      refuse(key, "found " + kind_of(element) + " in the list, expected strings");
    }
    texts.push_back(element.value_or(std::string{}));
  }
  return texts;
}

std::optional<bool> TomlTable::find_flag(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const std::optional<bool> flag = node->value<bool>();
  if (!node->is_boolean() || !flag) {
    refuse(key, "found " + kind_of(*node) + ", expected true or false");
  }
  return flag;
}

std::optional<Index> TomlTable::find_integer(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const std::optional<Index> integer = node->value<Index>();
  if (!node->is_integer() || !integer) {
    refuse(key, "found " + kind_of(*node) + ", expected a whole number");
  }
  return integer;
}

bool TomlTable::has(std::string_view key) const {
  return state_->table->contains(key);
}

bool TomlTable::is_text(std::string_view key) const {
  const toml::node* node = state_->table->get(key);
  return node != nullptr && node->is_string();
}

bool TomlTable::is_number(std::string_view key) const {
  const toml::node* node = state_->table->get(key);
  return node != nullptr && number_of(*node).has_value();
}

std::optional<double> TomlTable::find_number(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const std::optional<double> number = number_of(*node);
  if (!number) {
    refuse(key, "found " + kind_of(*node) + ", expected a finite number");
  }
  return number;
}

double TomlTable::number(std::string_view key) const {
  const std::optional<double> number = find_number(key);
  if (!number) {
    refuse(key, "is missing, expected a number");
  }
  return *number;
}

std::optional<std::vector<double>> TomlTable::find_numbers(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  std::optional<std::vector<double>> numbers = numbers_of(*node);
  if (!numbers) {
    refuse(key, "found " + kind_of(*node) + ", expected a list of finite numbers");
  }
  return numbers;
}

std::optional<std::vector<std::vector<double>>> TomlTable::find_number_rows(
    std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const toml::array* array = node->as_array();
  std::vector<std::vector<double>> rows;
  for (std::size_t idx = 0; array != nullptr && idx < array->size(); ++idx) {
    std::optional<std::vector<double>> row = numbers_of(*array->get(idx));
    if (!row) {
      array = nullptr;
      break;
    }
    rows.push_back(std::move(*row));
  }
  if (array == nullptr) {
    refuse(key,
           "found " + kind_of(*node) + ", expected lists of finite numbers, [[1, 4], [6, 10]]");
  }
  return rows;
}

std::optional<std::chrono::sys_seconds> TomlTable::find_time(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const auto time = time_of(*node);
  if (!time) {
    refuse(key,
           "found " + kind_of(*node) +
               ", expected a date, 2026-08-16, or a time with its offset, 2026-08-16T16:00:00Z");
  }
  return time;
}

std::chrono::sys_seconds TomlTable::time(std::string_view key) const {
  const auto time = find_time(key);
  if (!time) {
    refuse(key, "is missing, expected a date, 2026-08-16");
  }
  return *time;
}

std::optional<TomlTable> TomlTable::find_table(std::string_view key) const {
  const toml::node* node = state_->find(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  const toml::table* table = node->as_table();
  if (table == nullptr) {
    refuse(key, "found " + kind_of(*node) + ", expected a table");
  }
  return TomlTable(
      std::make_shared<State>(State{state_->root, table, state_->name, ": " + std::string(key)}));
}

std::vector<TomlTable> TomlTable::tables(std::string_view key) const {
  const toml::node* node = state_->find(key);
  std::vector<TomlTable> tables;
  if (node == nullptr) {
    return tables;
  }
  const toml::array* array = node->as_array();
  for (std::size_t idx = 0; array != nullptr && idx < array->size(); ++idx) {
    const toml::table* table = array->get(idx)->as_table();
    if (table == nullptr) {
      array = nullptr;
      break;
    }
    tables.push_back(TomlTable(std::make_shared<State>(
        State{state_->root, table, state_->name, fmt::format(": [[{}]] {}", key, idx + 1)})));
  }
  if (array == nullptr) {
    refuse(key, "found " + kind_of(*node) + ", expected tables, [[" + std::string(key) + "]]");
  }
  return tables;
}

}  // namespace fathom::formats
