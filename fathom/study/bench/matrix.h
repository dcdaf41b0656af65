// Which runs of a model are measured: prompts, and decoding at a context with a batch.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::bench {

enum class Phase { Prefill, Decode };

// One measured run. Prefill computes `tokens` from an empty context. Decode computes `tokens` steps
// of one token for each of `batch` sequences that hold `context` tokens.
struct Cell {
  Phase phase;
  Index tokens;
  Index context = 0;
  Index batch = 1;

  Index num_computed_tokens() const { return tokens * batch; }
  friend bool operator==(const Cell&, const Cell&) = default;
};
std::string describe(const Cell& cell);  // "decode 128 at 4096, batch 4"

// At context 0 a decode run begins behind so many tokens, as the other engines' benchmarks do.
inline constexpr Index kSeedTokens = 64;
Index tokens_before(const Cell& cell);

struct Matrix {
  std::vector<Index> prompts = {128, 512, 2048};
  Index decode_tokens = 128;
  std::vector<Index> contexts = {0, 4096, 32768};
  std::vector<Index> batches = {1, 4, 16};
};

struct Skipped {
  Cell cell;
  std::string reason;
};
struct Plan {
  std::vector<Cell>
      cells;  // prefill first, then decode by context, so that contexts are filled once
  std::vector<Skipped> skipped;
};

// Every prompt, and every context with every batch. Cells that do not fit into the model's context
// are skipped. Throws InvalidArgument for numbers below 1 (contexts: below 0) and repeated ones.
Plan plan_cells(const Matrix& matrix, Index max_context);

}  // namespace fathom::bench
