#include "fathom/model/config/gguf_fields.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace fathom::config {

double decimal_of_float(double value) {
  const float narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) {
    return value;
  }
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), narrow);
  double decimal = value;
  std::from_chars(text.data(), written.ptr, decimal);
  return decimal;
}

std::string GgufFields::full(std::string_view key) {
  std::string name =
      key.starts_with("tokenizer.") ? std::string(key) : architecture_ + "." + std::string(key);
  known_.insert(name);
  return name;
}

void GgufFields::fail_missing(const std::string& full_key) const {
  fail(ErrorCode::InvalidCheckpoint, file_, ": ", full_key, ": key is missing");
}

std::optional<Index> GgufFields::find_integer(std::string_view key, IntegerRange range) {
  const std::string name = full(key);
  const std::optional<Index> value = header_.find_integer(name, file_);
  return value ? check_range(name, *value, range) : value;
}

Index GgufFields::integer(std::string_view key, IntegerRange range) {
  const std::optional<Index> value = find_integer(key, range);
  if (!value) {
    fail_missing(full(key));
  }
  return *value;
}

std::optional<double> GgufFields::find_number(std::string_view key, NumberRange range) {
  const std::string name = full(key);
  const std::optional<double> value = header_.find_number(name, file_);
  return value ? std::optional(check_range(name, decimal_of_float(*value), range)) : std::nullopt;
}

double GgufFields::number(std::string_view key, NumberRange range) {
  const std::optional<double> value = find_number(key, range);
  if (!value) {
    fail_missing(full(key));
  }
  return *value;
}

Index GgufFields::vocab_size(std::string_view key, IntegerRange range) {
  if (const auto size = find_integer(key, range)) {
    return *size;
  }
  const std::string tokens = "tokenizer.ggml.tokens";
  const auto found = header_.metadata.find(tokens);
  const auto* const array =
      found == header_.metadata.end() ? nullptr : std::get_if<formats::GgufArray>(&found->second);
  if (array == nullptr) {
    fail(ErrorCode::InvalidCheckpoint, file_, ": ", full(key), ": key is missing, and so is ",
         tokens);
  }
  const Index size = std::visit([](const auto& list) { return to_index(list.size()); }, *array);
  return check_range(tokens, size, range);
}

void GgufFields::require_integer(std::string_view key, Index expected, bool may_be_absent) {
  const std::string name = full(key);
  const std::optional<Index> value = header_.find_integer(name, file_);
  if (!value && !may_be_absent) {
    fail_missing(name);
  }
  if (value && *value != expected) {
    fail(ErrorCode::Unsupported, file_, ": ", name, ": only ", expected, " is supported, found ",
         *value);
  }
}

bool GgufFields::has_tensor(std::string_view name) const {
  return std::any_of(header_.tensors.begin(), header_.tensors.end(),
                     [name](const formats::GgufTensor& tensor) { return tensor.name == name; });
}

bool GgufFields::has_tensor_prefix(std::string_view prefix) const {
  return std::any_of(
      header_.tensors.begin(), header_.tensors.end(),
      [prefix](const formats::GgufTensor& tensor) { return tensor.name.starts_with(prefix); });
}

std::vector<std::string> GgufFields::unknown_keys() const {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : header_.metadata) {
    if (key.starts_with(architecture_ + ".") && !known_.contains(key)) {
      unknown.push_back(key);
    }
  }
  return unknown;
}

}  // namespace fathom::config
