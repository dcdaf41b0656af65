#include "fathom/model/config/json_fields.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

namespace fathom::config {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;
constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxShownBytes = 60;

// The value as the message shows it: never longer than a line, never raw control bytes.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kMaxShownBytes) {
    text.resize(kMaxShownBytes);
    text += "...";
  }
  return text;
}

// Watches the parse: nlohmann silently keeps the last of repeated keys, and a text of nothing but
// brackets would build a value as deep as the text is long.
class ParseGuard {
 public:
  explicit ParseGuard(const std::string& file) : file_(file) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": nested deeper than ", kMaxDepth, " levels");
    }
    if (event == json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == json::parse_event_t::key) {
      last_key_ = parsed.get<std::string>();
      if (!keys_.back().insert(last_key_).second) {
        fail(ErrorCode::InvalidCheckpoint, file_, ": ", shown(parsed), ": key given twice");
      }
    }
    return true;
  }

  const std::string& last_key() const { return last_key_; }

 private:
  const std::string& file_;
  std::vector<std::set<std::string>> keys_;
  std::string last_key_;
};

json parse_text(std::string_view text, const std::string& file) {
  if (text.size() > kMaxTextBytes) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", text.size(), " bytes, expected at most ",
         kMaxTextBytes);
  }
  ParseGuard guard(file);
  const json::parser_callback_t watch = [&guard](int depth, json::parse_event_t event,
                                                 json& parsed) {
    return guard(depth, event, parsed);
  };
  const auto near_key = [&guard] {
    return guard.last_key().empty() ? std::string() : " at or after key " + shown(guard.last_key());
  };
  try {
    return json::parse(text, watch);
  } catch (const json::parse_error& error) {
    fail(ErrorCode::InvalidCheckpoint, file, ": not valid JSON at byte ", error.byte, near_key());
  } catch (const json::exception&) {  // a number beyond double
    fail(ErrorCode::InvalidCheckpoint, file, ": a number is out of range", near_key());
  }
}

}  // namespace

std::string to_text(double value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), result.ptr);
}

JsonFields::JsonFields(std::shared_ptr<const json> object, std::string file, std::string prefix)
    : object_(std::move(object)), file_(std::move(file)), prefix_(std::move(prefix)) {}

JsonFields JsonFields::parse(std::string_view text, const std::string& file) {
  auto root = std::make_shared<const json>(parse_text(text, file));
  if (!root->is_object()) {
    fail(ErrorCode::InvalidCheckpoint, file, ": expected a JSON object, found ", shown(*root));
  }
  return JsonFields(std::move(root), file, {});
}

void JsonFields::fail_at(ErrorCode code, std::string_view key, const std::string& problem) const {
  fail(code, file_, ": ", prefix_, key, ": ", problem);
}

bool JsonFields::has(std::string_view key) const {
  const auto found = object_->find(std::string(key));
  return found != object_->end() && !found->is_null();
}

bool JsonFields::is_list(std::string_view key) const {
  const auto found = object_->find(std::string(key));
  return found != object_->end() && found->is_array();
}

const json& JsonFields::require(std::string_view key) {
  known_.emplace(key);
  const auto found = object_->find(std::string(key));
  if (found == object_->end() || found->is_null()) {
    fail_at(ErrorCode::InvalidCheckpoint, key,
            found == object_->end() ? "key is missing" : "key is missing (null)");
  }
  return *found;
}

Index JsonFields::to_integer(std::string_view key, const json& value, IntegerRange range) const {
  const auto refuse = [&](const std::string& found) {
    fail_at(ErrorCode::InvalidCheckpoint, key,
            "expected an integer from " + std::to_string(range.minimum) + " to " +
                std::to_string(range.maximum) + ", found " + found);
  };
  if (!value.is_number_integer()) {
    refuse(shown(value));
  }
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > to_size(std::numeric_limits<Index>::max())) {
    refuse(shown(value));
  }
  const Index number = value.get<Index>();
  if (number < range.minimum || number > range.maximum) {
    refuse(shown(value));
  }
  return number;
}

Index JsonFields::integer(std::string_view key, IntegerRange range) {
  return to_integer(key, require(key), range);
}

double JsonFields::number(std::string_view key, NumberRange range) {
  const json& value = require(key);
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  if (!(number >= range.minimum && number <= range.maximum)) {
    fail_at(ErrorCode::InvalidCheckpoint, key,
            "expected a number from " + to_text(range.minimum) + " to " + to_text(range.maximum) +
                ", found " + shown(value));
  }
  return number;
}

bool JsonFields::boolean(std::string_view key) {
  const json& value = require(key);
  if (!value.is_boolean()) {
    fail_at(ErrorCode::InvalidCheckpoint, key, "expected true or false, found " + shown(value));
  }
  return value.get<bool>();
}

std::string JsonFields::text(std::string_view key) {
  const json& value = require(key);
  if (!value.is_string()) {
    fail_at(ErrorCode::InvalidCheckpoint, key, "expected a string, found " + shown(value));
  }
  return value.get<std::string>();
}

std::vector<Index> JsonFields::integers(std::string_view key, IntegerRange range) {
  const json& value = require(key);
  if (!value.is_array()) {
    fail_at(ErrorCode::InvalidCheckpoint, key,
            "expected a list of integers, found " + shown(value));
  }
  std::vector<Index> numbers;
  for (const json& element : value) {
    const std::string element_key = std::string(key) + "[" + std::to_string(numbers.size()) + "]";
    numbers.push_back(to_integer(element_key, element, range));
  }
  return numbers;
}

std::vector<std::string> JsonFields::texts(std::string_view key) {
  const json& value = require(key);
  std::vector<std::string> strings;
  bool is_valid = value.is_array();
  for (const json& element : value) {
    is_valid = is_valid && element.is_string();
    if (is_valid) {
      strings.push_back(element.get<std::string>());
    }
  }
  if (!is_valid) {
    fail_at(ErrorCode::InvalidCheckpoint, key, "expected a list of strings, found " + shown(value));
  }
  return strings;
}

std::optional<JsonFields> JsonFields::find_object(std::string_view key) {
  known_.emplace(key);
  if (!has(key)) {
    return std::nullopt;
  }
  const json& value = *object_->find(std::string(key));
  if (!value.is_object()) {
    fail_at(ErrorCode::InvalidCheckpoint, key, "expected an object, found " + shown(value));
  }
  // The nested object shares the ownership of the whole text.
  return JsonFields(std::shared_ptr<const json>(object_, &value), file_,
                    prefix_ + std::string(key) + ".");
}

void JsonFields::require_text(std::string_view key, std::string_view expected) {
  known_.emplace(key);
  if (has(key) && text(key) != expected) {
    fail_at(ErrorCode::Unsupported, key,
            "only \"" + std::string(expected) + "\" is supported, found " + shown(require(key)));
  }
}

void JsonFields::require_boolean(std::string_view key, bool expected) {
  known_.emplace(key);
  if (has(key) && boolean(key) != expected) {
    fail_at(ErrorCode::Unsupported, key,
            std::string("only ") + (expected ? "true" : "false") + " is supported, found " +
                shown(require(key)));
  }
}

std::vector<std::string> JsonFields::keys() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : object_->items()) {
    names.push_back(key);
  }
  return names;
}

std::vector<std::string> JsonFields::unknown_keys() const {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : object_->items()) {
    if (!known_.contains(key)) {
      unknown.push_back(prefix_ + key);
    }
  }
  return unknown;
}

}  // namespace fathom::config
