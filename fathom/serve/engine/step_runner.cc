#include "fathom/serve/engine/step_runner.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "fathom/base/platform/thread_pool.h"

namespace fathom::engine {
namespace {

// Prompt rows whose logits exist at a time: bounds memory, does not change them.
constexpr Index kScoredRows = 64;

// Whether the reply may have two more tokens: one that is drawn, and one to be guessed before.
bool has_room_for_guess(const Sequence& sequence) {
  const Index most = sequence.request->prepared.generation.max_tokens;
  return !sequence.generation->finish_reason() && sequence.generation->num_tokens() + 2 <= most;
}

}  // namespace

StepRunner::StepRunner(const layers::CausalLm& model, ops::Context& context)
    : model_(model),
      lm_(&model),
      context_(context),
      samplers_(to_size(context.pool.num_threads())) {}

const layers::CausalLm& StepRunner::model_of(const StepSegment& segment) const {
  const layers::CausalLm* const lm = segment.sequence->request->lm;
  return lm == nullptr ? model_ : *lm;
}

std::span<StepResult> StepRunner::run(std::span<const StepSegment> segments, Guesses guesses) {
  results_.clear();
  results_.reserve(segments.size());
  const auto first_of_its_model = [&](std::size_t idx) {
    return std::none_of(
        segments.begin(), segments.begin() + to_index(idx),
        [&](const StepSegment& before) { return &model_of(before) == &model_of(segments[idx]); });
  };
  for (std::size_t idx = 0; idx < segments.size(); ++idx) {
    if (first_of_its_model(idx)) {
      lm_ = &model_of(segments[idx]);
      alike_.clear();
      std::copy_if(segments.begin(), segments.end(), std::back_inserter(alike_),
                   [&](const StepSegment& each) { return &model_of(each) == lm_; });
      run_batch(alike_, guesses);
    }
  }
  return results_;
}

void StepRunner::run_batch(std::span<const StepSegment> segments, Guesses guesses) {
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
    hidden = layers::run_step(*lm_, context_,
                              layers::TokenBatch::of(context_.arena, tokens_, counts_, caches_));
  } catch (...) {
    // The caches are as they were.
    for (const StepSegment& segment : segments) {
      if (segments.size() == 1) {
        results_.push_back({.sequence = segment.sequence, .error = std::current_exception()});
      } else {
        run_batch({&segment, 1}, guesses);
      }
    }
    return;
  }
  use_hidden(hidden, segments);
  draft(hidden, guesses);
}

void StepRunner::use_hidden(const tensor::Tensor& hidden, std::span<const StepSegment> segments) {
  parts_.clear();
  targets_.clear();
  Index row = 0;
  for (const StepSegment& segment : segments) {
    Sequence& sequence = *segment.sequence;
    const Index position = sequence.num_cached() - segment.num_tokens;
    results_.push_back({.sequence = &sequence});
    parts_.push_back({.result_idx = results_.size() - 1,
                      .first_row = row,
                      .num_rows = segment.num_tokens,
                      .position = position});
    if (sequence.wants_scores()) {
      score(hidden.slice(row, segment.num_tokens), position, results_.back());
    }
    row += segment.num_tokens;
    if (sequence.generation && sequence.num_cached() == sequence.num_tokens()) {
      const Index num_rows = 1 + sequence.num_guesses;
      targets_.push_back(
          {.result_idx = results_.size() - 1, .first_row = row - num_rows, .num_rows = num_rows});
    }
  }
  if (!targets_.empty()) {
    sample(hidden, targets_);
  }
  for (const Target& target : targets_) {
    settle(results_[target.result_idx]);
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
      const auto logits = floats(lm_->logits(context_, hidden.slice(at - first, count)));
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

// The rows of all targets, one after another.
tensor::Tensor StepRunner::gather(const tensor::Tensor& hidden, std::span<const Target> targets) {
  Index num_rows = 0;
  bool is_contiguous = true;
  for (const Target& target : targets) {
    is_contiguous = is_contiguous && target.first_row == targets.front().first_row + num_rows;
    num_rows += target.num_rows;
  }
  if (is_contiguous) {
    return hidden.slice(targets.front().first_row, num_rows);
  }
  const Index row_bytes =
      hidden.num_elements() / hidden.dim(0) * tensor::element_bytes(hidden.dtype());
  const tensor::Tensor gathered =
      tensor::Tensor::allocate(context_.arena, hidden.dtype(), hidden.slice(0, num_rows).shape());
  auto* to = static_cast<std::byte*>(gathered.raw());
  const auto* from = static_cast<const std::byte*>(hidden.raw());
  for (const Target& target : targets) {
    std::memcpy(to, from + target.first_row * row_bytes, to_size(target.num_rows * row_bytes));
    to += target.num_rows * row_bytes;
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

// Each draws with its own sequence's random numbers, so the order and the threads are of no
// account.
void StepRunner::sample(const tensor::Tensor& hidden, std::span<const Target> targets) {
  try {
    const tensor::Tensor rows = gather(hidden, targets);
    const auto logits = floats(lm_->logits(context_, rows));
    const std::size_t vocab_size = logits.size() / to_size(rows.dim(0));
    std::vector<std::size_t> first_logits;
    std::size_t next = 0;
    for (const Target& target : targets) {
      first_logits.push_back(next);
      next += to_size(target.num_rows) * vocab_size;
    }
    context_.pool.parallel_for(to_index(targets.size()), [&](Index idx, int /*thread_idx*/) {
      const Target& target = targets[to_size(idx)];
      draw(results_[target.result_idx],
           logits.subspan(first_logits[to_size(idx)], to_size(target.num_rows) * vocab_size),
           target.num_rows);
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

// The next token, and after every guess that was right one more.
void StepRunner::draw(StepResult& result, std::span<const float> logits, Index num_rows) {
  Sequence& sequence = *result.sequence;
  if (result.error != nullptr) {
    return;
  }
  try {
    const std::size_t vocab_size = logits.size() / to_size(num_rows);
    const std::size_t first_guess = sequence.tokens.size() - to_size(sequence.num_guesses);
    sampling::Generation& generation = *sequence.generation;
    for (Index row = 0; row < num_rows; ++row) {
      const auto row_logits = logits.subspan(to_size(row) * vocab_size, vocab_size);
      const sampling::Picked& picked = generation.next(row_logits);
      result.drawn.push_back({.picked = picked,
                              .is_final = generation.finish_reason().has_value(),
                              .is_constraint_released = generation.is_constraint_released()});
      const bool is_last = row + 1 == num_rows || result.drawn.back().is_final;
      if (is_last || sequence.tokens[first_guess + to_size(row)] != picked.id) {
        break;
      }
    }
  } catch (...) {
    result.error = std::current_exception();
  }
}

// Takes the rows of wrong guesses back, and notes what was drawn.
void StepRunner::settle(StepResult& result) {
  Sequence& sequence = *result.sequence;
  if (result.error != nullptr) {
    return;
  }
  result.num_guessed = sequence.num_guesses;
  const Index num_right = to_index(result.drawn.size()) - 1;
  const Index num_wrong = sequence.num_guesses - num_right;
  if (num_wrong > 0) {
    // Where the cache cannot go back so little, it goes back further, and the rest is computed
    // again.
    sequence.caches->model.truncate(sequence.num_cached() - num_wrong);
  }
  sequence.drop_guesses();
  for (const Drawn& drawn : result.drawn) {
    sequence.tokens.push_back(drawn.picked.id);
  }
}

// Brings the draft block up to date with the rows that stay, and guesses.
void StepRunner::draft(const tensor::Tensor& hidden, Guesses guesses) {
  const layers::DraftModule* const block = lm_->draft();
  tokens_.clear();
  counts_.clear();
  caches_.clear();
  targets_.clear();
  std::vector<Target> last_rows;
  Index num_rows = 0;
  for (const Part& part : parts_) {
    const StepResult& result = results_[part.result_idx];
    Sequence& sequence = *result.sequence;
    if (block == nullptr || result.error != nullptr || !sequence.caches->draft) {
      continue;
    }
    // The token after the last row is not known when no reply is wanted.
    const Index count = std::min(sequence.num_cached(), sequence.num_tokens() - 1) - part.position;
    if (sequence.caches->draft->num_tokens() != part.position || count < 1) {
      sequence.caches->draft.reset();  // it cannot catch up
      continue;
    }
    const auto next = std::span<const TokenId>(sequence.tokens)
                          .subspan(to_size(part.position) + 1, to_size(count));
    tokens_.insert(tokens_.end(), next.begin(), next.end());
    counts_.push_back(count);
    caches_.push_back(&*sequence.caches->draft);
    targets_.push_back(
        {.result_idx = part.result_idx, .first_row = part.first_row, .num_rows = count});
    num_rows += count;
    if (guesses == Guesses::Make && !result.drawn.empty() && has_room_for_guess(sequence)) {
      last_rows.push_back(
          {.result_idx = part.result_idx, .first_row = num_rows - 1, .num_rows = 1});
    }
  }
  if (targets_.empty()) {
    return;
  }
  try {
    const tensor::Tensor drafted = layers::run_step(
        *block, context_, layers::TokenBatch::of(context_.arena, tokens_, counts_, caches_),
        gather(hidden, targets_));
    if (!last_rows.empty()) {
      guess(drafted, last_rows);
    }
  } catch (...) {
    // Nobody has to have guesses.
    for (const Target& target : targets_) {
      results_[target.result_idx].sequence->caches->draft.reset();
    }
  }
}

void StepRunner::guess(const tensor::Tensor& drafted, std::span<const Target> targets) {
  const auto logits = floats(lm_->draft()->logits(context_, gather(drafted, targets)));
  const std::size_t vocab_size = logits.size() / targets.size();
  context_.pool.parallel_for(to_index(targets.size()), [&](Index idx, int /*thread_idx*/) {
    Sequence& sequence = *results_[targets[to_size(idx)].result_idx].sequence;
    const std::optional<TokenId> token =
        sequence.generation->guess(logits.subspan(to_size(idx) * vocab_size, vocab_size));
    if (token) {
      sequence.tokens.push_back(*token);
      sequence.num_guesses = 1;
    }
  });
}

}  // namespace fathom::engine
