// Typed access to the metadata of one GGUF file by a family's reader.
//
// Keys are relative to the architecture, but for those of the tokenizer. The reader remembers which
// ones were asked for, so that the rest can be reported as unknown.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/json_fields.h"

namespace fathom::config {

class GgufFields {
 public:
  GgufFields(const formats::GgufHeader& header, const std::string& file, std::string architecture)
      : header_(header), file_(file), architecture_(std::move(architecture)) {}

  const formats::GgufHeader& header() const { return header_; }
  const std::string& file() const { return file_; }

  // The key as it stands in the file; from then on it is known.
  std::string full(std::string_view key);

  std::optional<Index> find_integer(std::string_view key, IntegerRange range);
  Index integer(std::string_view key, IntegerRange range);
  std::optional<double> find_number(std::string_view key, NumberRange range);
  double number(std::string_view key, NumberRange range);
  // Of the key, or how many tokens the tokenizer has where writers leave the key out.
  Index vocab_size(std::string_view key, IntegerRange range);

  // Another value is Unsupported.
  void require_integer(std::string_view key, Index expected, bool may_be_absent);

  bool has_tensor(std::string_view name) const;
  bool has_tensor_prefix(std::string_view prefix) const;

  // Keys of the architecture that nobody asked for.
  std::vector<std::string> unknown_keys() const;

  [[noreturn]] void fail_missing(const std::string& full_key) const;
  template <typename Number, typename Range>
  Number check_range(const std::string& full_key, Number value, Range range) const {
    if (!(value >= range.minimum && value <= range.maximum)) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", full_key, ": expected a number from ",
           range.minimum, " to ", range.maximum, ", found ", value);
    }
    return value;
  }

 private:
  const formats::GgufHeader& header_;
  const std::string& file_;
  std::string architecture_;
  std::set<std::string> known_;
};

// GGUF keeps fp32; the number that was written in decimal (1e-6) is the shortest that rounds to it.
double decimal_of_float(double value);

}  // namespace fathom::config
