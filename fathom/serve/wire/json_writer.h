// Writes JSON without a tree: answers are made while the engine waits.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::wire {

// Commas and quotes are its business; that every begin has its end, and every key its value, is the
// caller's. Text that is no UTF-8 is written with U+FFFD, a number that is not finite as null.
class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(double number);
  JsonWriter& null();
  // JSON as it is.
  JsonWriter& raw(std::string_view json);
  template <std::integral T>
  JsonWriter& value(T number) {
    if constexpr (std::same_as<T, bool>) {
      return raw(number ? "true" : "false");
    } else {
      return integer(static_cast<std::int64_t>(number));
    }
  }

  template <typename T>
  JsonWriter& field(std::string_view name, const T& content) {
    return key(name).value(content);
  }
  JsonWriter& null_field(std::string_view name) { return key(name).null(); }
  JsonWriter& raw_field(std::string_view name, std::string_view json) {
    return key(name).raw(json);
  }

  // What was written; the writer is empty afterwards.
  std::string take();

 private:
  JsonWriter& integer(std::int64_t number);
  void separate();

  std::string json_;
  bool needs_comma_ = false;
};

}  // namespace fathom::wire
