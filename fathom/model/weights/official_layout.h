// The tensors of a checkpoint in the official layout: which there are, in what format, and in what
// order. Whoever writes one (synthetic weights, export) fills the matrices.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fathom/base/formats/safetensors.h"
#include "fathom/model/config/weight_table.h"
#include "fathom/model/weights/name_map.h"

namespace fathom::weights {

// One matrix (of one expert) and the tensors its bytes go to.
struct OfficialMatrix {
  config::WeightSpec spec;
  Index expert_idx = 0;
  std::string name;
  std::optional<numeric::WeightFormat> format;  // none: a table of ids, as I64
  numeric::ScaleFormat scale_format = numeric::ScaleFormat::None;
  Index tensor_idx = 0;         // of OfficialLayout::tensors
  Index scale_tensor_idx = -1;  // -1: no scales

  Index rows() const { return spec.shape.size() == 1 ? 1 : spec.shape.front(); }
  Index columns() const { return spec.shape.back(); }
};

struct OfficialLayout {
  std::vector<OfficialMatrix> matrices;
  std::vector<formats::SafetensorsEntry> tensors;  // name, dtype and shape
};

// In the order of the weight table. Throws InvalidArgument naming a tensor whose columns do not fit
// its format's blocks, Unsupported for a format that safetensors has no form of.
OfficialLayout official_layout(const config::ModelConfig& config,
                               const config::StoragePlan& storage,
                               const NameMap& names);

}  // namespace fathom::weights
