// Random weights, encoded: what a tensor's numbers are like, and blocks of them in any format.
//
// A block's bytes are a function of its key alone, so that they do not depend on threads or order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fathom/compute/numeric/weight_encoder.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::weights {

struct Distribution {
  enum class Kind { Normal, Uniform };
  Kind kind = Kind::Normal;
  float centre = 0;
  float spread = 1;  // standard deviation, or width of the interval around the centre
};

// Such that no tensor can be forgotten without a difference and hidden states keep their size.
Distribution distribution_of(const config::WeightSpec& spec);

// A new model before training: every matrix N(0, 0.02), norms and scales of hyper-connections 1,
// their bases, sinks, biases and position biases 0 (architecture specification 6.5: a neutral
// choice, transformers', not the published models' recipe).
Distribution initial_distribution_of(const config::WeightSpec& spec);

std::uint64_t block_key(std::uint64_t seed, std::string_view tensor, Index block_idx);

// The formats that synthetic checkpoints are written in: F32, F16, BF16, Fp8, Fp4, Mxfp4, Q8_0.
bool can_fill(numeric::WeightFormat format);
// `block.columns` is a multiple of the format's block.
void fill_weights(const numeric::EncodedRows& block,
                  const Distribution& distribution,
                  std::uint64_t key);

// Rows of `columns` distinct ids below `limit`, as I64 or I32.
void fill_ids(
    Index rows, Index columns, Index limit, Index id_bytes, std::uint64_t key, std::byte* out);

}  // namespace fathom::weights
