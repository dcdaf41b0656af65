// JSON schemas as documents: references, and two schemas that hold at once made one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"

namespace fathom::sampling {

using SchemaJson = nlohmann::ordered_json;

// A bit per kind of JSON value; an integer is also a number.
enum JsonType : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127,
};

// Throws `code` with "schema: WHERE: problem".
[[noreturn]] void fail_schema(ErrorCode code, std::string_view where, const std::string& problem);

// Reads the text of a schema; refuses what is no JSON, too long or too deep.
SchemaJson parse_schema_document(std::string_view text);

// Throws for a keyword that is unknown or unsupported, and for a value of the wrong type.
void check_keywords(const SchemaJson& schema, const std::string& where);

// The types that a checked schema's `type` names, or else those that its keywords speak about.
unsigned types_of(const SchemaJson& schema, const std::string& where);
unsigned type_of_value(const SchemaJson& value);

// What a $ref of the document points to.
const SchemaJson& resolve(const SchemaJson& document,
                          const std::string& ref,
                          const std::string& where);

// One schema without $ref and allOf at its top that says what this one says.
SchemaJson flattened(const SchemaJson& document,
                     const SchemaJson& schema,
                     const std::string& where);

// One schema for two that hold at once; both flattened.
SchemaJson merged(const SchemaJson& document,
                  const SchemaJson& a,
                  const SchemaJson& b,
                  const std::string& where);

// Throws Unsupported unless no value can satisfy two of the flattened branches of a oneOf.
void require_disjoint(const SchemaJson& document,
                      const std::vector<SchemaJson>& branches,
                      const std::string& where);

}  // namespace fathom::sampling
