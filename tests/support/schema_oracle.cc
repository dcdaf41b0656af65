#include "tests/support/schema_oracle.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fathom/base/core/index.h"

namespace fathom::testing {
namespace {

bool is_of_type(const std::string& type, const PlainJson& value) {
  const bool is_whole =
      value.is_number_integer() ||
      (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
  return (type == "null" && value.is_null()) || (type == "boolean" && value.is_boolean()) ||
         (type == "integer" && is_whole) || (type == "number" && value.is_number()) ||
         (type == "string" && value.is_string()) || (type == "array" && value.is_array()) ||
         (type == "object" && value.is_object());
}

bool is_valid_object(const PlainJson& schema, const PlainJson& value, const PlainJson& document) {
  const PlainJson properties = schema.value("properties", PlainJson::object());
  for (const PlainJson& name : schema.value("required", PlainJson::array())) {
    if (!value.contains(name.get<std::string>())) {
      return false;
    }
  }
  for (const auto& [name, member] : value.items()) {
    const PlainJson rule = properties.contains(name)
                               ? properties.at(name)
                               : schema.value("additionalProperties", PlainJson(true));
    if (!is_valid(rule, member, document)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_valid(const PlainJson& schema, const PlainJson& value, const PlainJson& document) {
  if (schema.is_boolean()) {
    return schema.get<bool>();
  }
  if (schema.contains("$ref")) {
    return is_valid(
        document.at(PlainJson::json_pointer(schema.at("$ref").get<std::string>().substr(1))), value,
        document);
  }
  const auto any = [&](const PlainJson& branches) {
    return std::any_of(branches.begin(), branches.end(),
                       [&](const PlainJson& branch) { return is_valid(branch, value, document); });
  };
  const PlainJson all = schema.value("allOf", PlainJson::array());
  const bool holds_all = std::all_of(all.begin(), all.end(), [&](const PlainJson& part) {
    return is_valid(part, value, document);
  });
  if (!holds_all || (schema.contains("anyOf") && !any(schema.at("anyOf")))) {
    return false;
  }
  if (schema.contains("enum") && std::find(schema.at("enum").begin(), schema.at("enum").end(),
                                           value) == schema.at("enum").end()) {
    return false;
  }
  if (schema.contains("type") && !is_of_type(schema.at("type"), value)) {
    return false;
  }
  if (value.is_number()) {
    return value.get<double>() >= schema.value("minimum", -1e300) &&
           value.get<double>() <= schema.value("maximum", 1e300) &&
           value.get<double>() > schema.value("exclusiveMinimum", -1e300);
  }
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const auto length = std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    });
    return length >= schema.value("minLength", 0) && length <= schema.value("maxLength", 1'000'000);
  }
  if (value.is_array()) {
    const auto size = static_cast<Index>(value.size());
    return size >= schema.value("minItems", 0) && size <= schema.value("maxItems", 1'000'000) &&
           std::all_of(value.begin(), value.end(), [&](const PlainJson& item) {
             return is_valid(schema.value("items", PlainJson(true)), item, document);
           });
  }
  return !value.is_object() || is_valid_object(schema, value, document);
}

PlainJson random_schema(std::mt19937& random, int depth) {
  const auto pick = [&](int count) {
    return static_cast<int>(random() % static_cast<unsigned>(count));
  };
  switch (depth <= 0 ? pick(6) : pick(11)) {
    case 0:
      return {{"type", "integer"}, {"minimum", pick(100) - 50}, {"maximum", 50 + pick(100)}};
    case 1:
      return {{"type", "number"}, {"exclusiveMinimum", pick(100) / 8.0}};
    case 2:
      return {{"type", "string"}, {"minLength", pick(3)}, {"maxLength", 3 + pick(4)}};
    case 3:
      return {{"enum", {1, "two", nullptr, PlainJson::array({3}), {{"four", 4}}}}};
    case 4:
      return {{"type", pick(2) == 0 ? "boolean" : "null"}};
    case 5:
      return depth > 0 ? PlainJson({{"$ref", "#/$defs/node"}}) : PlainJson({{"type", "string"}});
    case 6:
    case 7: {
      PlainJson schema = {{"type", "object"}, {"required", PlainJson::array()}};
      for (const char* name : {"a", "b\"", "é", "ab"}) {
        if (pick(2) == 0) {
          schema["properties"][name] = random_schema(random, depth - 1);
          if (pick(2) == 0) {
            schema["required"].push_back(name);
          }
        }
      }
      if (pick(3) == 0) {
        schema["additionalProperties"] = random_schema(random, depth - 2);
      }
      return schema;
    }
    case 8:
      return {{"anyOf", {random_schema(random, depth - 1), random_schema(random, depth - 1)}}};
    case 9:
      return {{"allOf",
               {{{"type", "object"}, {"properties", {{"x", random_schema(random, depth - 1)}}}},
                {{"properties", {{"y", random_schema(random, depth - 1)}}}, {"required", {"y"}}}}}};
    default:
      return {{"type", "array"},
              {"items", random_schema(random, depth - 1)},
              {"minItems", pick(2)},
              {"maxItems", 2 + pick(2)}};
  }
}

}  // namespace fathom::testing
