// Losses of a training step besides those of its tokens, computed by ops inside layers: what they
// count for, and what they came to.
//
// A context has them while an objective computes one batch, and none in inference. They change no
// number on the way forwards: an op that has such a loss hooks itself on a tensor that is on the
// way to the tokens' losses anyway, and adds its gradient when it is passed on the way back. That
// happens once, however often a layer is computed, so there it also reports.
#pragma once

#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::ops {

struct TrainingTerms {
  // Neighbouring rows of the step that belong together: a part of one document.
  struct Piece {
    Index first_row;
    Index num_rows;
    double weight;  // what its losses count for beside those of other pieces
  };
  // Sums over the pieces of one layer, of losses times the piece's weight.
  struct LayerSums {
    double balance_loss = 0;
    double indexer_loss = 0;
    std::vector<double> expert_tokens;  // [E] rows that chose the expert
  };

  std::vector<Piece> pieces;      // in order, all rows of the step
  std::vector<LayerSums> layers;  // decoder layers, then MTP blocks
  double d_balance_loss = 0;      // by each layer's sum; 0: it is not computed
  double d_indexer_loss = 0;
  // The indexer is compared with attention over every visible block, not the ones it chose.
  bool teaches_every_block = false;
  // Nothing is recorded, as in validation: losses are computed on the way forwards.
  bool is_forward_only = false;
};

}  // namespace fathom::ops
