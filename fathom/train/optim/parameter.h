// A tensor that is trained, as optimisers see it.
#pragma once

#include <span>
#include <string>

#include "fathom/base/core/index.h"

namespace fathom::optim {

enum class Method {
  AdamW,
  Muon,  // matrices only
};

// One matrix [rows, columns] (a vector is one row; each expert is a matrix of its own).
struct Parameter {
  std::string name;  // in the checkpoint; experts of a stacked tensor end in their number
  Index rows = 0;
  Index columns = 0;
  std::span<float> values;  // the master copy, row after row
  Method method = Method::AdamW;
  bool decays = true;  // whether weight decay applies
};

}  // namespace fathom::optim
