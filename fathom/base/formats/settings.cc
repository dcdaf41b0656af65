#include "fathom/base/formats/settings.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/formats/toml_table.h"

namespace fathom::formats {
namespace {

constexpr std::size_t kHelpColumns = 100;

// The code point that begins at `at`, and where the next one does; the text is UTF-8.
std::pair<std::uint32_t, std::size_t> code_point(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  std::uint32_t code = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (std::size_t idx = 1; idx < length; ++idx) {
    code = (code << 6) | (static_cast<unsigned char>(text[at + idx]) & 0x3FU);
  }
  return {code, at + length};
}

// A basic string, in ASCII as TomlTable wants it.
std::string toml_text(const std::string& text) {
  if (!is_utf8(text)) {
    fail(ErrorCode::InvalidArgument, "settings: ", quote(text), ": not UTF-8");
  }
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto [code, next] = code_point(text, at);
    if (code == '"' || code == '\\') {
      out += '\\';
      out += text[at];
    } else if (code < ' ' || code >= 0x7F) {
      out += fmt::format("\\U{:08X}", code);
    } else {
      out += text[at];
    }
    at = next;
  }
  return out + "\"";
}

std::string toml_of(const Setting& row) {
  return std::visit(
      [](const auto* value) -> std::string {
        using Held = std::decay_t<decltype(*value)>;
        if constexpr (std::is_same_v<Held, std::string>) {
          return toml_text(*value);
        } else if constexpr (std::is_same_v<Held, std::vector<std::string>>) {
          std::string list;
          for (const std::string& each : *value) {
            list += (list.empty() ? "" : ", ") + toml_text(each);
          }
          return "[" + list + "]";
        } else if constexpr (std::is_same_v<Held, std::vector<double>>) {
          return fmt::format("[{}]", fmt::join(*value, ", "));
        } else {
          return fmt::format("{}", *value);
        }
      },
      row.value);
}

void check_range(const TomlTable& table, const Setting& row, double number) {
  if (number >= row.minimum && number <= row.maximum) {
    return;
  }
  const bool is_bounded = row.maximum < std::numeric_limits<double>::infinity();
  table.refuse(row.key,
               is_bounded
                   ? fmt::format("found {}, expected {} to {}", number, row.minimum, row.maximum)
                   : fmt::format("found {}, expected at least {}", number, row.minimum));
}

void check_choice(const TomlTable& table, const Setting& row, const std::string& text) {
  if (row.choices.empty() ||
      std::find(row.choices.begin(), row.choices.end(), text) != row.choices.end()) {
    return;
  }
  std::string expected;
  for (const std::string_view choice : row.choices) {
    expected += (expected.empty() ? "" : ", ") + std::string(choice);
  }
  table.refuse(row.key, "found " + quote(text) + ", expected one of " + expected);
}

void read_row(const TomlTable& table, const Setting& row) {
  if (!table.has(row.key)) {
    return;
  }
  if (auto* const* flag = std::get_if<bool*>(&row.value)) {
    **flag = *table.find_flag(row.key);
  } else if (auto* const* integer = std::get_if<Index*>(&row.value)) {
    **integer = *table.find_integer(row.key);
    check_range(table, row, static_cast<double>(**integer));
  } else if (auto* const* number = std::get_if<double*>(&row.value)) {
    **number = *table.find_number(row.key);
    check_range(table, row, **number);
  } else if (auto* const* text = std::get_if<std::string*>(&row.value)) {
    **text = *table.find_text(row.key);
    check_choice(table, row, **text);
  } else if (auto* const* numbers = std::get_if<std::vector<double>*>(&row.value)) {
    **numbers = *table.find_numbers(row.key);
    for (const double each : **numbers) {
      check_range(table, row, each);
    }
  } else {
    *std::get<std::vector<std::string>*>(row.value) = table.texts(row.key);
  }
}

// Text as comments of at most kHelpColumns.
std::string comment_of(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string comment;
  std::string line = "#";
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > kHelpColumns) {
      comment += line + "\n";
      line = "#";
    }
    line += " " + word;
  }
  return comment + line + "\n";
}

// What may be chosen or how far a number may go, behind the help.
std::string help_of(const Setting& row) {
  std::string help(row.help);
  if (!row.choices.empty()) {
    std::string choices;
    for (const std::string_view choice : row.choices) {
      choices += (choices.empty() ? "" : ", ") + std::string(choice);
    }
    help += " (" + choices + ")";
  }
  return help;
}

}  // namespace

void Settings::read(std::string_view toml, const std::string& file) {
  const TomlTable root = TomlTable::parse(toml, file);
  std::map<std::string_view, std::optional<TomlTable>> tables;
  for (const Setting& row : rows_) {
    const auto [at, is_first] = tables.try_emplace(row.section);
    if (is_first) {
      at->second = root.find_table(row.section);
    }
    if (at->second) {
      read_row(*at->second, row);
    }
  }
  root.refuse_unread();
  for (const auto& [section, table] : tables) {
    if (table) {
      table->refuse_unread();
    }
  }
}

void Settings::set(const std::string& assignment, const std::string& source) {
  const std::size_t equals = assignment.find('=');
  const std::string name = assignment.substr(0, equals);
  for (const Setting& row : rows_) {
    if (equals == std::string::npos || name != fmt::format("{}.{}", row.section, row.key)) {
      continue;
    }
    std::string value = assignment.substr(equals + 1);
    if (std::holds_alternative<std::string*>(row.value) && !value.starts_with('"')) {
      value = toml_text(value);
    }
    read(fmt::format("[{}]\n{} = {}\n", row.section, row.key, value), source);
    return;
  }
  fail(ErrorCode::InvalidArgument, source, ": found ", quote(assignment),
       ", expected section.key=value of a setting");
}

std::string Settings::text_of(bool with_help) const {
  std::string text;
  std::string_view section;
  for (const Setting& row : rows_) {
    if (row.section != section) {
      section = row.section;
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    text += with_help ? comment_of(help_of(row)) : "";
    text += fmt::format("{} = {}\n", row.key, toml_of(row));
  }
  return text;
}

std::string Settings::dump() const {
  return text_of(false);
}

std::string Settings::explain() const {
  return text_of(true);
}

std::vector<Settings::Difference> Settings::changed_since(std::string_view dumped,
                                                          const std::string& file) const {
  const TomlTable root = TomlTable::parse(dumped, file);
  std::vector<Difference> differences;
  for (const Setting& row : rows_) {
    if (!row.changes_results) {
      continue;
    }
    // The row with a value of its own, to be read and written as the dump was.
    Setting before = row;
    std::variant<bool, Index, double, std::string, std::vector<double>, std::vector<std::string>>
        held;
    std::visit(
        [&](const auto* value) {
          held = *value;
          using Held = std::decay_t<decltype(*value)>;
          before.value = &std::get<Held>(held);
        },
        row.value);
    const std::optional<TomlTable> table = root.find_table(row.section);
    const bool was_there = table && table->has(row.key);
    if (was_there) {
      read_row(*table, before);
    }
    const std::string then = was_there ? toml_of(before) : "";
    if (then != toml_of(row)) {
      differences.push_back({fmt::format("{}.{}", row.section, row.key), then, toml_of(row)});
    }
  }
  return differences;
}

}  // namespace fathom::formats
