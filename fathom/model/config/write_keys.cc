#include "fathom/model/config/write_keys.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "fathom/model/config/config_facts.h"

namespace fathom::config {

nlohmann::ordered_json plain_number(double value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  if (std::abs(value) < kExact && value == std::floor(value)) {
    return static_cast<Index>(value);
  }
  return value;
}

std::uint32_t gguf_count(Index value) {
  FATHOM_CHECK(value >= 0 && value <= Index{UINT32_MAX});
  return static_cast<std::uint32_t>(value);
}

void GgufKeys::add_facts(const ModelConfig& config) {
  for (const IntegerFact& fact : integer_facts(config.family)) {
    const std::string key(fact.names.gguf);
    const Index value = config.*fact.member;
    if (value == ModelConfig::kNoToken) {
      continue;
    }
    key.starts_with("tokenizer.") ? add(key, gguf_count(value)) : own(key, gguf_count(value));
  }
  for (const NumberFact& fact : number_facts(config.family)) {
    own(fact.names.gguf, static_cast<float>(config.*fact.member));
  }
}

}  // namespace fathom::config
