#include "fathom/serve/engine/step_runner.h"

#include <algorithm>
#include <cstring>

#include "fathom/base/platform/thread_pool.h"

namespace fathom::engine {
namespace {

// Prompt rows whose logits exist at a time: bounds memory, does not change them.
constexpr Index kScoredRows = 64;

}  // namespace

StepRunner::StepRunner(const layers::CausalLm& model, ops::Context& context)
    : model_(model), context_(context), samplers_(to_size(context.pool.num_threads())) {}

std::span<StepResult> StepRunner::run(std::span<const StepSegment> segments) {
  results_.clear();
  results_.reserve(segments.size());
  run_batch(segments);
  return results_;
}

void StepRunner::run_batch(std::span<const StepSegment> segments) {
  tokens_.clear();
  counts_.clear();
  caches_.clear();
  for (const StepSegment& segment : segments) {
    const auto next =
        std::span<const TokenId>(segment.sequence->tokens)
            .subspan(to_size(segment.sequence->num_cached()), to_size(segment.num_tokens));
    tokens_.insert(tokens_.end(), next.begin(), next.end());
    counts_.push_back(segment.num_tokens);
    caches_.push_back(&segment.sequence->caches->model);
  }
  const tensor::Arena::Scope scope(context_.arena);
  tensor::Tensor hidden;
  try {
    hidden = layers::run_step(model_, context_,
                              layers::TokenBatch::of(context_.arena, tokens_, counts_, caches_));
  } catch (...) {
    // The caches are as they were.
    for (const StepSegment& segment : segments) {
      run_alone(segment, segments.size() == 1 ? std::current_exception() : nullptr);
    }
    return;
  }
  use_hidden(hidden, segments);
}

void StepRunner::run_alone(const StepSegment& segment, std::exception_ptr error) {
  if (error == nullptr) {
    run_batch({&segment, 1});
  } else {
    results_.push_back({.sequence = segment.sequence, .error = std::move(error)});
  }
}

// Every segment gets its result.
void StepRunner::use_hidden(const tensor::Tensor& hidden, std::span<const StepSegment> segments) {
  targets_.clear();
  Index row = 0;
  for (const StepSegment& segment : segments) {
    Sequence& sequence = *segment.sequence;
    results_.push_back({.sequence = &sequence});
    if (sequence.wants_scores()) {
      score(hidden.slice(row, segment.num_tokens), sequence.num_cached() - segment.num_tokens,
            results_.back());
    }
    row += segment.num_tokens;
    if (sequence.generation && sequence.num_cached() == sequence.num_tokens()) {
      targets_.push_back({.result_idx = results_.size() - 1, .row = row - 1});
    }
  }
  if (!targets_.empty()) {
    sample(hidden, targets_);
  }
}

// Row i of `hidden` belongs to token first + i and speaks of the one after it. What was told before
// a preemption is not told again.
void StepRunner::score(const tensor::Tensor& hidden, Index first, StepResult& result) {
  const ActiveRequest& request = *result.sequence->request;
  const Index num_top = *request.prepared.request.num_prompt_logprobs;
  const Index begin = std::max(first, request.num_scored);
  const Index end = std::min(first + hidden.dim(0), request.usage.num_prompt - 1);
  if (begin >= end) {
    return;
  }
  try {
    result.scores.resize(to_size(end - begin));
    for (Index at = begin; at < end; at += kScoredRows) {
      const tensor::Arena::Scope scope(context_.arena);
      const Index count = std::min(kScoredRows, end - at);
      const auto logits = floats(model_.logits(context_, hidden.slice(at - first, count)));
      const std::size_t vocab_size = logits.size() / to_size(count);
      context_.pool.parallel_for(count, [&](Index row, int thread_idx) {
        samplers_[static_cast<std::size_t>(thread_idx)].logprobs(
            logits.subspan(to_size(row) * vocab_size, vocab_size),
            request.prompt()[to_size(at + row + 1)], num_top,
            result.scores[to_size(at - begin + row)]);
      });
    }
  } catch (...) {
    result.error = std::current_exception();
  }
}

tensor::Tensor StepRunner::gather(const tensor::Tensor& hidden, std::span<const Target> targets) {
  const bool is_contiguous =
      targets.back().row - targets.front().row + 1 == to_index(targets.size());
  if (is_contiguous) {
    return hidden.slice(targets.front().row, to_index(targets.size()));
  }
  const Index row_elements = hidden.num_elements() / hidden.dim(0);
  const Index row_bytes = row_elements * tensor::element_bytes(hidden.dtype());
  const tensor::Tensor all_rows = hidden.slice(0, to_index(targets.size()));
  const tensor::Tensor gathered =
      tensor::Tensor::allocate(context_.arena, hidden.dtype(), all_rows.shape());
  auto* to = static_cast<std::byte*>(gathered.raw());
  const auto* from = static_cast<const std::byte*>(hidden.raw());
  for (const Target& target : targets) {
    std::memcpy(to, from + target.row * row_bytes, to_size(row_bytes));
    to += row_bytes;
  }
  return gathered;
}

std::span<const float> StepRunner::floats(const tensor::Tensor& logits) {
  const std::size_t count = to_size(logits.num_elements());
  if (logits.dtype() == tensor::DType::F32) {
    return {logits.data<float>(), count};
  }
  floats_.resize(count);
  std::transform(logits.data<double>(), logits.data<double>() + count, floats_.begin(),
                 [](double value) { return static_cast<float>(value); });
  return floats_;
}

// One token for every target. Each draws with its own sequence's random numbers, so the order and
// the threads are of no account.
void StepRunner::sample(const tensor::Tensor& hidden, std::span<const Target> targets) {
  try {
    const auto logits = floats(model_.logits(context_, gather(hidden, targets)));
    const std::size_t vocab_size = logits.size() / targets.size();
    context_.pool.parallel_for(to_index(targets.size()), [&](Index idx, int /*thread_idx*/) {
      StepResult& result = results_[targets[to_size(idx)].result_idx];
      if (result.error != nullptr) {
        return;
      }
      try {
        result.picked = &result.sequence->generation->next(
            logits.subspan(to_size(idx) * vocab_size, vocab_size));
      } catch (...) {
        result.error = std::current_exception();
      }
    });
  } catch (...) {
    // The head failed: without the others it may not.
    for (const Target& target : targets) {
      if (targets.size() == 1) {
        results_[target.result_idx].error = std::current_exception();
      } else {
        sample(hidden, {&target, 1});
      }
    }
  }
}

}  // namespace fathom::engine
