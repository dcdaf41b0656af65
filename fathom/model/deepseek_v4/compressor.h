// Compresses blocks of tokens into rows (specification 3.5): the main compressors of CSA and HCA
// layers and the one inside the indexer.
#pragma once

#include <span>

#include "fathom/model/layers/linear.h"
#include "fathom/model/layers/norm.h"
#include "fathom/model/layers/step.h"

namespace fathom::deepseek_v4 {

using layers::LayerPlace;
using layers::Step;

// What happens to a pooled, normed and rotated row before it is stored.
enum class RowFinish {
  KeyValue,  // official: FP8 round trip of all but the rope dimensions
  IndexKey,  // fast and official: Hadamard rotation; official: FP4 round trip
};

// Rows of index queries and keys, in place: rotated so that their numbers spread, and rounded. In
// `fast` the cache rounds keys (kv::row_dtype), and ops::index_select queries.
void finish_index_rows(ops::Context& context, const tensor::Tensor& rows, Index width);
// Rows of keys and values, in place.
void finish_key_value_rows(ops::Context& context,
                           const tensor::Tensor& rows,
                           Index width,
                           Index rope_dim);

struct CompressorSpec {
  config::WeightKey value;
  config::WeightKey gate;
  config::WeightKey position_bias;
  config::WeightKey norm;
  RowFinish finish;
  Index width;          // of a compressed row
  Index input_stream;   // cache stream of inputs, one row per token
  Index output_stream;  // cache stream of compressed rows
};

class Compressor {
 public:
  Compressor(const weights::Store& store,
             const config::ModelConfig& config,
             const config::LayerConfig& layer,
             const CompressorSpec& spec,
             const ops::RopeFrequencies& frequencies);

  // Appends the inputs of the step's tokens, and a row for every block they close. The same for one
  // token and for a whole sequence: blocks are always pooled from the cached inputs.
  void append(ops::Context& context, const Step& step, const ops::LinearInput& input) const;

 private:
  void close_blocks(ops::Context& context, kv::KvStore& kv) const;

  CompressorSpec spec_;
  Index block_tokens_;
  bool has_overlap_;
  Index rope_dim_;
  const ops::RopeFrequencies& frequencies_;
  layers::Linear value_;
  layers::Linear gate_;
  std::span<const float> position_bias_;
  layers::Norm norm_;
};

}  // namespace fathom::deepseek_v4
