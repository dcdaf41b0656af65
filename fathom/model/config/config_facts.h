// The lists of a config's numbers, one per family, with the name each dialect gives them and their
// limits. Readers, writers and messages loop over them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/config/json_fields.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

enum class Dialect { ConfigJson, InferenceJson, Gguf };

struct FactNames {
  std::string_view config_json;
  std::string_view inference_json;
  std::string_view gguf;
  std::string_view in(Dialect dialect) const;
};

// The upper limits are far above every published model and low enough that no product of extents,
// summed over all layers, leaves 63 bits.
struct IntegerFact {
  Index ModelConfig::*member;
  FactNames names;
  IntegerRange range;
  // What all released models say: stands in where the dialect's files may lack the key.
  std::optional<Index> published;
};

struct NumberFact {
  double ModelConfig::*member;
  FactNames names;
  NumberRange range;
  std::optional<double> published;
};

const std::vector<IntegerFact>& integer_facts(Family family);
const std::vector<NumberFact>& number_facts(Family family);
std::string_view name_of(Family family, Index ModelConfig::*member, Dialect dialect);

inline constexpr IntegerRange kLayerCountRange{1, 1024};
inline constexpr IntegerRange kWidthRange{1, Index{1} << 17};  // of hidden states and hidden layers
inline constexpr IntegerRange kHeadsRange{1, Index{1} << 13};
inline constexpr IntegerRange kHeadDimRange{1, Index{1} << 13};
inline constexpr IntegerRange kTokensRange{1, Index{1} << 32};
inline constexpr IntegerRange kVocabRange{1, Index{1} << 24};
inline constexpr IntegerRange kTokenRange{0, Index{1} << 24};
inline constexpr NumberRange kRopeBaseRange{1.0001, 1e12};
inline constexpr NumberRange kEpsilonRange{1e-30, 1};

// Begin and end tokens lie in the vocabulary; throws InvalidCheckpoint.
void check_tokens(const ModelConfig& config, Dialect dialect, const std::string& file);

}  // namespace fathom::config
