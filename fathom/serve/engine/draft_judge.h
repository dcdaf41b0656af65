// Whether guessing tokens ahead pays: decided by how long tokens took with and without, for about
// as many sequences at a time. The time is passed in; what is decided changes no token.
#pragma once

#include <array>

#include "fathom/base/core/index.h"
#include "fathom/serve/engine/step_runner.h"

namespace fathom::engine {

class DraftJudge {
 public:
  // For the next step. Keeps to one way for a few steps, mostly the better one; now and then it
  // tries the other.
  Guesses choose(Index num_decoded);

  // A step without prompt tokens, as chosen: it brought `num_tokens` for `num_decoded` sequences.
  void record(Index num_decoded, Index num_tokens, double seconds);

  // False once guesses have lost wherever they were tried: then it is not worth while to keep the
  // draft block up to date. After some thousand steps they get another chance.
  bool is_worth_keeping();

 private:
  static constexpr int kStepsPerRun = 8;
  struct Load {
    std::array<double, 2> token_s{};  // without and with guesses, smoothed; 0: not seen
    int way = 1;
    int num_steps = 0;  // of this run
    int num_runs = 0;
    bool has_lost() const { return token_s[0] > 0 && token_s[1] > token_s[0]; }
    bool is_tried() const { return token_s[0] > 0 && token_s[1] > 0; }
  };
  // By powers of two of sequences.
  Load& load_of(Index num_decoded);

  std::array<Load, 16> loads_{};
  const Load* last_ = nullptr;
  int num_steps_off_ = 0;
};

}  // namespace fathom::engine
