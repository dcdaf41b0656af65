#include "fathom/model/text/call_arguments.h"

#include <algorithm>
#include <optional>

#include "fathom/model/text/utf8.h"

namespace fathom::text {

void CallArguments::begin_parameter(std::string_view key, bool is_string, std::string& json) {
  const std::string clean_key = repair_utf8(key);
  if (!keys_.insert(clean_key).second) {
    value_ = Value::Dropped;
    return;
  }
  if (is_candidate_) {
    write_candidate(json);
  }
  key_ = clean_key;
  is_string_ = is_string;
  buffer_.clear();
  is_candidate_ = keys_.size() == 1 && (key_ == "arguments" || key_ == "input") &&
                  schema_ != nullptr && !schema_->has_property(key_);
  value_ = Value::Buffered;
  if (is_candidate_) {
    return;
  }
  write_key(key_, json);
  if (is_string_ && (schema_ == nullptr || schema_->takes_string(key_))) {
    value_ = Value::Streamed;
    json.push_back('"');
  }
}

void CallArguments::add_value(std::string_view bytes, std::string& json) {
  if (value_ == Value::Buffered) {
    buffer_ += bytes;
  } else if (value_ == Value::Streamed) {
    std::string text;
    cleaner_.push(bytes, text);
    append_json_escaped(text, json);
  }
}

void CallArguments::end_parameter(std::string& json) {
  if (value_ == Value::Streamed) {
    cleaner_.finish(json);
    json.push_back('"');
  } else if (value_ == Value::Buffered) {
    buffer_ = repair_utf8(buffer_);
    if (!is_candidate_) {
      json += buffered_value(is_string_);
    }
  }
  value_ = Value::None;
}

void CallArguments::finish(std::string& json) {
  if (is_candidate_) {
    const std::string object = unwrapped();
    if (!object.empty()) {
      json += object;
      return;
    }
    write_candidate(json);
  }
  json += has_written_ ? "}" : "{}";
}

void CallArguments::write_key(std::string_view key, std::string& json) {
  json += has_written_ ? ", \"" : "{\"";
  has_written_ = true;
  append_json_escaped(key, json);
  json += "\": ";
}

void CallArguments::write_candidate(std::string& json) {
  is_candidate_ = false;
  write_key(key_, json);
  json += buffered_value(is_string_);
}

std::string CallArguments::buffered_value(bool is_string) const {
  // What the schema does not know may only be plain text.
  const bool may_convert = schema_ != nullptr && !schema_->takes_string(key_);
  if (!is_string || may_convert) {
    const std::optional<JsonText> value = read_json(buffer_);
    if (value && (!is_string || schema_->takes(key_, value->kind))) {
      return std::string(value->text);
    }
  }
  return json_string(buffer_);
}

bool CallArguments::fits(std::string_view text, std::string& object) const {
  const std::optional<JsonText> value = read_json(text);
  if (!value || value->kind != JsonKind::Object) {
    return false;
  }
  object = value->text;
  return std::all_of(value->keys.begin(), value->keys.end(),
                     [&](const std::string& key) { return schema_->has_property(key); });
}

std::string CallArguments::unwrapped() const {
  std::string object;
  if (fits(buffer_, object)) {
    return object;
  }
  const std::optional<JsonText> value = read_json(buffer_);
  const bool holds_text = value && value->kind == JsonKind::String && !is_string_;
  if (holds_text && fits(decode_json_string(value->text), object)) {
    return object;
  }
  return {};
}

}  // namespace fathom::text
