#include "fathom/serve/engine/draft_judge.h"

#include <algorithm>
#include <bit>

namespace fathom::engine {
namespace {

constexpr double kWeightOfNewest = 0.1;
constexpr double kLargestJump = 2;
constexpr int kRunsBetweenTrials = 16;
constexpr int kStepsUntilAnotherChance = 5000;

}  // namespace

DraftJudge::Load& DraftJudge::load_of(Index num_decoded) {
  const auto width =
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(num_decoded)));
  return loads_[std::min(width, loads_.size() - 1)];
}

Guesses DraftJudge::choose(Index num_decoded) {
  Load& load = load_of(num_decoded);
  if (&load != last_) {
    load.num_steps = 0;
  }
  last_ = &load;
  if (load.num_steps >= kStepsPerRun) {
    load.num_steps = 0;
    ++load.num_runs;
    if (!load.is_tried()) {
      load.way = load.token_s[1] == 0 ? 1 : 0;
    } else {
      const int better = load.has_lost() ? 0 : 1;
      load.way = load.num_runs % kRunsBetweenTrials == 0 ? 1 - better : better;
    }
  }
  return load.way == 1 ? Guesses::Make : Guesses::None;
}

void DraftJudge::record(Index num_decoded, Index num_tokens, double seconds) {
  Load& load = load_of(num_decoded);
  // The first step of a run brings what the way before it began.
  if (++load.num_steps == 1 || num_tokens == 0) {
    return;
  }
  double& known = load.token_s[static_cast<std::size_t>(load.way)];
  const double found = seconds / static_cast<double>(num_tokens);
  known = known == 0
              ? found
              : known + kWeightOfNewest *
                            (std::clamp(found, known / kLargestJump, known * kLargestJump) - known);
}

bool DraftJudge::is_worth_keeping() {
  if (num_steps_off_ > 0) {
    ++num_steps_off_;
    if (num_steps_off_ > kStepsUntilAnotherChance) {
      *this = DraftJudge();
    }
    return num_steps_off_ == 0;
  }
  bool is_tried = false;
  bool has_won = false;
  for (const Load& load : loads_) {
    // Some runs of both, so that one bad moment decides nothing.
    const bool counts = load.is_tried() && load.num_runs >= kRunsBetweenTrials;
    is_tried = is_tried || counts;
    has_won = has_won || (counts && !load.has_lost());
  }
  num_steps_off_ = is_tried && !has_won ? 1 : 0;
  return num_steps_off_ == 0;
}

}  // namespace fathom::engine
