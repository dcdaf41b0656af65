// Settings of a TOML file, each a row of one table: its key, where its value goes, what it means.
//
// Reading, the dump of what is in effect, the help and the page of the documentation all come from
// the rows, so that none can drift from the others.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::formats {

// One key. What `value` points to holds the default until the key is read.
struct Setting {
  using Value = std::variant<bool*,
                             Index*,
                             double*,
                             std::string*,
                             std::vector<double>*,
                             std::vector<std::string>*>;

  std::string_view section;  // the table it stands in
  std::string_view key;
  Value value;
  std::string_view help;  // one sentence, with the unit of a number
  double minimum = -std::numeric_limits<double>::infinity();  // of numbers
  double maximum = std::numeric_limits<double>::infinity();
  std::vector<std::string_view> choices = {};  // of a text; none: any
  // Whether results depend on it: a run that is gone on with has to keep it.
  bool changes_results = true;
};

class Settings {
 public:
  // Rows of a section stand together.
  explicit Settings(std::vector<Setting> rows) : rows_(std::move(rows)) {}

  // Sets what the text names. Throws InvalidArgument naming file, line and key: no TOML, a key or
  // a table that is in no row, a value of another type, out of range or none of the choices.
  void read(std::string_view toml, const std::string& file);

  // The same for one key: "schedule.steps=100", a value as in TOML; the quotes of a text may be
  // left out. `source` stands for the file in messages.
  void set(const std::string& assignment, const std::string& source);

  // The values as TOML that read() takes, in the order of the rows.
  std::string dump() const;
  // The same with the help in front of every key, as comments.
  std::string explain() const;

  struct Difference {
    std::string name;    // "schedule.steps"
    std::string before;  // as TOML; empty: was not there
    std::string now;
  };
  // The values of `dumped` that differ, of those that change results. Throws what read() throws.
  std::vector<Difference> changed_since(std::string_view dumped, const std::string& file) const;

 private:
  std::string text_of(bool with_help) const;

  std::vector<Setting> rows_;
};

}  // namespace fathom::formats
