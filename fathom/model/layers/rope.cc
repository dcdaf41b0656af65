#include "fathom/model/layers/rope.h"

namespace fathom::layers {

ops::RopeFrequencies rope_frequencies(Index rope_dim, const config::RopeConfig& rope) {
  if (rope.yarn) {
    const ops::YarnParameters yarn{.factor = rope.yarn->factor,
                                   .original_context = rope.yarn->original_context,
                                   .beta_fast = rope.yarn->beta_fast,
                                   .beta_slow = rope.yarn->beta_slow};
    return ops::rope_frequencies(rope_dim, rope.base, &yarn);
  }
  ops::RopeFrequencies frequencies = ops::rope_frequencies(rope_dim, rope.base, nullptr);
  if (rope.llama3) {
    ops::scale_llama3(frequencies, {.factor = rope.llama3->factor,
                                    .low_factor = rope.llama3->low_frequency_factor,
                                    .high_factor = rope.llama3->high_frequency_factor,
                                    .original_context = rope.llama3->original_context});
  }
  ops::divide_frequencies(frequencies, rope.linear_factor);
  return frequencies;
}

ops::RopePairs rope_pairs(const config::RopeConfig& rope) {
  return rope.pairs == config::RopePairs::Halves ? ops::RopePairs::Halves
                                                 : ops::RopePairs::Neighbours;
}

}  // namespace fathom::layers
