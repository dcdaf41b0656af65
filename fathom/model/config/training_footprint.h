// Memory of a training step, from a config alone: what `fathom train` will need before it starts.
//
// Step memory is followed allocation by allocation as the layers make them while a tape records
// (docs/decisions/0007-tape.md); tests compare it with what a step really takes.
#pragma once

#include "fathom/base/core/index.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

// One forward and backward pass. More pieces than one change little.
struct TrainingStep {
  Index num_tokens = 0;           // T, of one batch; accumulating more of them takes no more memory
  Index bytes_per_number = 4;     // 8 in double
  bool recomputes_layers = true;  // keeps one layer at a time
  bool has_mtp = true;            // the loss of the MTP block, where there is one
  bool teaches_indexers = true;
  bool is_official = false;  // numerics: roundings keep what they round
  // In them, dense matrices and experts are of FP8 or FP4, whose products round their input.
  bool is_quantised = false;
};

struct TrainingBytes {
  Index weights = 0;           // master copy in fp32, of everything
  Index weight_gradients = 0;  // fp32, of what is trained
  Index optimizer_state = 0;   // fp32: two numbers for AdamW's parameters, one for Muon's
  Index activations = 0;       // step memory at its highest
  Index activation_gradients = 0;
  Index total() const {
    return weights + weight_gradients + optimizer_state + activations + activation_gradients;
  }
};

// Without an average of the weights (EMA), which takes the weights once more.
TrainingBytes training_bytes(const ModelConfig& config, const TrainingStep& step);

}  // namespace fathom::config
