// Which tensors of a checkpoint the roles of the weight table are, and where each matrix lies.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fathom/model/config/weight_table.h"
#include "fathom/model/weights/checkpoint.h"
#include "fathom/model/weights/name_map.h"
#include "fathom/model/weights/named_view.h"

namespace fathom::weights {

struct BoundRole {
  std::vector<NamedView> matrices;      // one, or one per expert
  const StoredTensor* table = nullptr;  // of an integer table, which has no view
  std::vector<Index> shape;
  std::string missing;  // the first name not found; the role cannot be read then
  bool goes_into_panels = false;
};

struct Binding {
  std::map<config::WeightKey, BoundRole> roles;
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
};

// Binds every tensor of the weight table. Throws InvalidCheckpoint naming file and tensor if one
// that is there has a wrong shape or dtype.
Binding bind(const Checkpoint& checkpoint, const config::ModelConfig& config, const NameMap& names);

// A shape as errors show it: [rows, columns].
std::string to_text(const std::vector<Index>& shape);

}  // namespace fathom::weights
