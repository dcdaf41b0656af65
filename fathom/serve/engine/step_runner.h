// Computes one step for many sequences: the model once over all of their rows, the head over those
// whose logits are wanted, then the next token for each sequence that has all of its tokens
// computed.
//
// With a draft block, a sequence that goes on gets a guess of the token after the next one, drawn
// with that token's random number. The step after computes both; the guess counts where the model
// itself then draws the same, and is taken back where not. So guesses change how many tokens a step
// brings, never which.
//
// Sequences of different adapters are computed one adapter after another, each with those of its
// own: a sequence's bits do not depend on its neighbours, so nobody can tell.
//
// What goes wrong with one sequence stays with it: a step that fails is tried again without the
// others. Knows nothing of clients and queues.
#pragma once

#include <exception>
#include <span>
#include <vector>

#include "fathom/model/layers/causal_lm.h"
#include "fathom/serve/engine/sequence.h"

namespace fathom::engine {

// The next `num_tokens` tokens of a sequence: all of those it has, or some of its prompt.
struct StepSegment {
  Sequence* sequence = nullptr;
  Index num_tokens = 0;
};

// A token, and how the reply stood once it was drawn.
struct Drawn {
  sampling::Picked picked;
  bool is_final = false;  // nothing can follow
  bool is_constraint_released = false;
};

struct StepResult {
  Sequence* sequence = nullptr;
  // Why the sequence cannot go on; its cache is then not to be used again.
  std::exception_ptr error = {};
  // The tokens that were drawn, which are the sequence's last ones but for a guess. None when it
  // has more of its prompt to compute, or wants none.
  std::vector<Drawn> drawn = {};
  Index num_guessed = 0;  // tokens that were computed on trial
  // Of the prompt tokens after those that were computed, where wanted.
  std::vector<sampling::TokenLogprobs> scores = {};
};

enum class Guesses { None, Make };

class StepRunner {
 public:
  // Both must outlive the runner.
  StepRunner(const layers::CausalLm& model, ops::Context& context);

  // Appends to the caches of the sequences, and to their tokens; every segment has a result.
  std::span<StepResult> run(std::span<const StepSegment> segments, Guesses guesses);

 private:
  // What a segment's rows were computed for.
  struct Part {
    std::size_t result_idx = 0;
    Index first_row = 0;
    Index num_rows = 0;
    Index position = 0;  // of the first
  };
  // Hidden rows [first_row, first_row + num_rows) whose logits choose a sequence's next tokens.
  struct Target {
    std::size_t result_idx = 0;
    Index first_row = 0;
    Index num_rows = 0;
  };

  const layers::CausalLm& model_of(const StepSegment& segment) const;
  void run_batch(std::span<const StepSegment> segments, Guesses guesses);
  void use_hidden(const tensor::Tensor& hidden, std::span<const StepSegment> segments);
  void score(const tensor::Tensor& hidden, Index first, StepResult& result);
  void sample(const tensor::Tensor& hidden, std::span<const Target> targets);
  static void draw(StepResult& result, std::span<const float> logits, Index num_rows);
  static void settle(StepResult& result);
  void draft(const tensor::Tensor& hidden, Guesses guesses);
  void guess(const tensor::Tensor& drafted, std::span<const Target> targets);
  tensor::Tensor gather(const tensor::Tensor& hidden, std::span<const Target> targets);
  std::span<const float> floats(const tensor::Tensor& logits);

  const layers::CausalLm& model_;
  const layers::CausalLm* lm_;  // of the batch that is computed: the model, or with an adapter
  ops::Context& context_;
  std::vector<StepSegment> alike_;           // of one adapter
  std::vector<sampling::Sampler> samplers_;  // one per thread
  std::vector<StepResult> results_;
  std::vector<Part> parts_;
  std::vector<Target> targets_;
  std::vector<TokenId> tokens_;
  std::vector<Index> counts_;
  std::vector<kv::KvStore*> caches_;
  std::vector<float> floats_;  // of logits in double
};

}  // namespace fathom::engine
