// Tables of a TOML file, read by key, with errors that name the file, the line and the field.
//
// Each key that is read is noted, so that a reader can refuse what nobody asked for: a misspelt
// option must not be an option that is silently not set.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::formats {

// Every error is InvalidArgument. `find_` returns nothing for a key that is not there; the others
// refuse that.
class TomlTable {
 public:
  // The root. `name` stands for the file in messages. Characters beyond ASCII are for comments;
  // strings escape them, \u00e9.
  static TomlTable parse(std::string_view text, const std::string& name);

  // Where the table begins: "prices.toml:12: [[price]] 3".
  std::string place() const;
  // Refuses a value: "prices.toml:14: [[price]] 3: usd: " and why.
  [[noreturn]] void refuse(std::string_view key, const std::string& why) const;
  // Refuses the first key that was not read. Tables within are to be asked themselves.
  void refuse_unread() const;

  std::string text(std::string_view key) const;
  std::optional<std::string> find_text(std::string_view key) const;
  std::vector<std::string> texts(std::string_view key) const;  // none where the key is not there

  // Integers count as numbers; nan and inf do not.
  double number(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<std::vector<double>> find_numbers(std::string_view key) const;
  std::optional<std::vector<std::vector<double>>> find_number_rows(std::string_view key) const;

  std::optional<bool> find_flag(std::string_view key) const;
  std::optional<Index> find_integer(std::string_view key) const;

  bool has(std::string_view key) const;
  bool is_number(std::string_view key) const;  // false where the key is not there
  bool is_text(std::string_view key) const;    // the same

  // A date, 2026-08-16 (midnight UTC), or a date with a time and an offset, 2026-08-16T16:00:00Z.
  std::chrono::sys_seconds time(std::string_view key) const;
  std::optional<std::chrono::sys_seconds> find_time(std::string_view key) const;

  std::optional<TomlTable> find_table(std::string_view key) const;
  std::vector<TomlTable> tables(
      std::string_view key) const;  // of [[key]]; none where it is not there

 private:
  struct State;
  explicit TomlTable(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace fathom::formats
