// How one family calls its tensors in files: roles to names, in each dialect of each container.
//
// The strings themselves belong to the family (deepseek_v4/weight_names.cc); this is their shape.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/config/weight_table.h"

namespace fathom::weights {

// One way to find a tensor of the table.
struct NameCandidate {
  std::string tensor;      // name in the file; for per-expert files the expert's own tensor
  bool is_stacked = false;  // one tensor [E, rows, columns] holds all experts
  // Rows of the (stacked) tensor that belong to the role: gate and up share one in transformers'
  // files. All of them when num_rows is 0.
  Index first_row = 0;
  Index num_rows = 0;
};

class NameMap {
 public:
  virtual ~NameMap() = default;
  // Every name the tensor (expert) may have, preferred first; `container` dialects are tried in turn.
  virtual std::vector<NameCandidate> candidates(const config::WeightKey& key, Index expert_idx) const = 0;
  // Names of the scale tensor that belongs to a weight tensor, preferred first.
  virtual std::vector<std::string> scale_names(std::string_view weight_name) const = 0;
  // A tensor that files carry and we knowingly leave unused (duplicate MTP embedding and head,
  // rope tables ...): not reported as unexpected.
  virtual bool is_ignored(std::string_view name) const = 0;
  // Names for writing.
  virtual std::string official_name(const config::WeightKey& key, Index expert_idx) const = 0;
  virtual std::string gguf_name(const config::WeightKey& key) const = 0;
};

}  // namespace fathom::weights
