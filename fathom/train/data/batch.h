// What a training step is made of: pieces of documents with a target for every token, and where
// they come from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::data {

// Tokens of one forward pass, T of them: pieces of documents one after another. Attention, caches
// and compressors stay inside a piece.
struct Batch {
  std::vector<std::int32_t> tokens;   // [T]
  std::vector<std::int32_t> targets;  // [T] the token that follows each in its document
  std::vector<float> loss_weights;    // [T] what each target counts for; 0: not at all
  std::vector<Index> piece_tokens;    // of each piece, at least 1; they sum to T

  Index num_tokens() const { return to_index(tokens.size()); }
};

// An endless, repeatable stream of batches.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Throws Io or InvalidArgument naming the shard and the record that is wrong.
  virtual Batch next() = 0;

  // Where the stream is, as JSON text: part of a checkpoint. After restore() the next batches are
  // those that would have come. Throws InvalidArgument for a state of other data or settings.
  virtual std::string state() const = 0;
  virtual void restore(const std::string& state) = 0;
};

}  // namespace fathom::data
