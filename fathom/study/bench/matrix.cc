#include "fathom/study/bench/matrix.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::bench {
namespace {

void check_list(std::string_view name, const std::vector<Index>& numbers, Index smallest) {
  std::set<Index> seen;
  for (const Index number : numbers) {
    if (number < smallest) {
      fail(ErrorCode::InvalidArgument, name, ": found ", number, ", expected at least ", smallest);
    }
    if (!seen.insert(number).second) {
      fail(ErrorCode::InvalidArgument, name, ": ", number, " is listed twice");
    }
  }
  if (numbers.empty()) {
    fail(ErrorCode::InvalidArgument, name, ": expected at least one number, found none");
  }
}

}  // namespace

std::string describe(const Cell& cell) {
  if (cell.phase == Phase::Prefill) {
    return "prefill " + std::to_string(cell.tokens);
  }
  return "decode " + std::to_string(cell.tokens) + " at " + std::to_string(cell.context) +
         ", batch " + std::to_string(cell.batch);
}

Index tokens_before(const Cell& cell) {
  return cell.phase == Phase::Prefill ? 0 : std::max(cell.context, kSeedTokens);
}

Plan plan_cells(const Matrix& matrix, Index max_context) {
  check_list("--prompt", matrix.prompts, 1);
  check_list("--decode", {matrix.decode_tokens}, 1);
  check_list("--context", matrix.contexts, 0);
  check_list("--batch", matrix.batches, 1);
  Plan plan;
  const auto add = [&](const Cell& cell) {
    const Index needed = tokens_before(cell) + cell.tokens;
    if (needed <= max_context) {
      plan.cells.push_back(cell);
    } else {
      plan.skipped.push_back({cell, "takes " + std::to_string(needed) +
                                        " tokens of context, the model has " +
                                        std::to_string(max_context)});
    }
  };
  for (const Index prompt : matrix.prompts) {
    add({.phase = Phase::Prefill, .tokens = prompt});
  }
  for (const Index context : matrix.contexts) {
    for (const Index batch : matrix.batches) {
      add({.phase = Phase::Decode,
           .tokens = matrix.decode_tokens,
           .context = context,
           .batch = batch});
    }
  }
  return plan;
}

}  // namespace fathom::bench
