// What fine-tuning is taught by: examples of one piece (a conversation) or of two (a pair to prefer
// one of), each piece with the tokens that count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::tune {

// A conversation as tokens.
struct Piece {
  std::vector<std::int32_t> tokens;  // at least 2
  std::vector<float> weights;        // of each as a target; the first one is never any

  // Rows of a forward pass: the last token predicts nothing.
  Index num_rows() const { return to_index(tokens.size()) - 1; }
};

struct Example {
  std::vector<Piece> pieces;

  Index num_rows() const {
    Index rows = 0;
    for (const Piece& piece : pieces) {
      rows += piece.num_rows();
    }
    return rows;
  }
};

// Examples of a file, and what became of the others.
struct ExampleSet {
  std::vector<Example> examples;
  Index num_cut = 0;       // longer than allowed: their ends are left away
  Index num_left_out = 0;  // of these, nothing that counts was left
};

}  // namespace fathom::tune
