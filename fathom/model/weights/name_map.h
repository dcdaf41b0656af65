// How one family calls its tensors in files: names to roles and back, in each dialect.
//
// The strings themselves belong to the family (deepseek_v4/weight_names.cc); this is their shape.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fathom/model/config/weight_table.h"

namespace fathom::weights {

enum class Dialect { Official, Transformers, Gguf };

// What a name in a file means.
struct TensorName {
  config::WeightKey key;
  Index expert_idx =
      -1;  // of a role with experts; -1: one tensor [E, rows, columns] holds them all
  bool is_scale = false;  // the scales of the key's weights
  // Set when gate and up share one tensor: `key` has the first half of its rows, this role the
  // rest.
  std::optional<config::WeightRole> second_role;
  Dialect dialect = Dialect::Official;  // the first one that spells it so
};

class NameMap {
 public:
  virtual ~NameMap() = default;
  // Nothing for a name that no dialect knows.
  virtual std::optional<TensorName> parse(std::string_view name) const = 0;
  // A tensor that files carry and we knowingly leave unused (duplicate MTP embedding and head,
  // rope tables ...): not reported as unexpected.
  virtual bool is_ignored(std::string_view name) const = 0;
  // The dialect's name; expert_idx only matters where each expert has a tensor of its own.
  virtual std::string name(Dialect dialect,
                           const config::WeightKey& key,
                           Index expert_idx) const = 0;
  // The official name of the scales that belong to a weight tensor.
  virtual std::string scale_name(std::string_view weight_name) const = 0;
};

}  // namespace fathom::weights
