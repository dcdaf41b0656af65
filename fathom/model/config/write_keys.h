// What the writers of configs share: numbers as the published files spell them, and GGUF keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

// An integral double as an integer: the published files have 10000, not 10000.0, and readers of
// them may insist.
nlohmann::ordered_json plain_number(double value);

// A count as the 32 bits that readers of GGUF expect.
std::uint32_t gguf_count(Index value);

// Collects metadata; keys are relative to the architecture.
class GgufKeys {
 public:
  explicit GgufKeys(std::string_view architecture) : architecture_(architecture) {}

  template <typename Value>
  void own(std::string_view key, Value value) {
    add(architecture_ + "." + std::string(key), std::move(value));
  }
  // Every number of the family's table of facts; tokens that the model does not have are left out.
  void add_facts(const ModelConfig& config);
  std::vector<formats::GgufWriteValue> take() { return std::move(values_); }

 private:
  template <typename Value>
  void add(std::string key, Value value) {
    values_.push_back({std::move(key), std::move(value)});
  }

  std::string architecture_;
  std::vector<formats::GgufWriteValue> values_;
};

}  // namespace fathom::config
