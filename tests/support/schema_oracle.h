// What a JSON schema allows, by the rules of the specification, and random schemas of the keywords
// that it knows. For tests only.
#pragma once

#include <random>

#include <nlohmann/json.hpp>

namespace fathom::testing {

using PlainJson = nlohmann::json;

// Whether a value is what a schema allows; `document` is what its references point into.
bool is_valid(const PlainJson& schema, const PlainJson& value, const PlainJson& document);

PlainJson random_schema(std::mt19937& random, int depth);

}  // namespace fathom::testing
