// Computes one step for many sequences: the model once over all of their rows, the head over those
// whose logits are wanted, then one token for each sequence that has all of its tokens computed.
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

// The next `num_tokens` tokens of a sequence, of which it has as many.
struct StepSegment {
  Sequence* sequence = nullptr;
  Index num_tokens = 0;
};

struct StepResult {
  Sequence* sequence = nullptr;
  // Why the sequence cannot go on; its cache is then not to be used again.
  std::exception_ptr error = {};
  // The token that was sampled, valid until the sequence's next one. Null when it has more tokens
  // to compute, or wants none.
  const sampling::Picked* picked = nullptr;
  // Of the prompt tokens after those that were computed, where wanted.
  std::vector<sampling::TokenLogprobs> scores = {};
};

class StepRunner {
 public:
  // Both must outlive the runner.
  StepRunner(const layers::CausalLm& model, ops::Context& context);

  // Appends to the caches of the sequences; every segment has a result, in any order.
  std::span<StepResult> run(std::span<const StepSegment> segments);

 private:
  // A hidden row whose logits choose the next token.
  struct Target {
    std::size_t result_idx = 0;
    Index row = 0;
  };

  void run_batch(std::span<const StepSegment> segments);
  void run_alone(const StepSegment& segment, std::exception_ptr error);
  void use_hidden(const tensor::Tensor& hidden, std::span<const StepSegment> segments);
  void score(const tensor::Tensor& hidden, Index first, StepResult& result);
  void sample(const tensor::Tensor& hidden, std::span<const Target> targets);
  tensor::Tensor gather(const tensor::Tensor& hidden, std::span<const Target> targets);
  std::span<const float> floats(const tensor::Tensor& logits);

  const layers::CausalLm& model_;
  ops::Context& context_;
  std::vector<sampling::Sampler> samplers_;  // one per thread
  std::vector<StepResult> results_;
  std::vector<Target> targets_;
  std::vector<TokenId> tokens_;
  std::vector<Index> counts_;
  std::vector<kv::KvStore*> caches_;
  std::vector<float> floats_;  // of logits in double
};

}  // namespace fathom::engine
