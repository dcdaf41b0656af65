#include "fathom/fathom.h"

#include <algorithm>
#include <cmath>

#include "fathom/loaded_model.h"

namespace fathom {
namespace {

// Rows of logits computed at a time: bounds memory, does not change the rows.
constexpr Index kLogitsRows = 256;

// Numbers of a tensor as fp32, whatever they were computed in.
void to_floats(const tensor::Tensor& tensor, std::vector<float>& out) {
  out.resize(to_size(tensor.num_elements()));
  if (tensor.dtype() == tensor::DType::F64) {
    std::transform(tensor.data<double>(), tensor.data<double>() + tensor.num_elements(),
                   out.begin(), [](double value) { return static_cast<float>(value); });
  } else {
    std::copy_n(tensor.data<float>(), tensor.num_elements(), out.begin());
  }
}

// Hands out the logits of hidden rows block by block; `readout` maps hidden rows to logits. The
// first of them is row `first_row` for the sink.
template <typename Readout>
void emit_logits(ops::Context& context,
                 const tensor::Tensor& hidden,
                 Index first_row,
                 const LogitsSink& sink,
                 const Readout& readout) {
  std::vector<float> block;  // of logits in double
  for (Index first = 0; first < hidden.dim(0); first += kLogitsRows) {
    const tensor::Arena::Scope scope(context.arena);
    const Index count = std::min(kLogitsRows, hidden.dim(0) - first);
    const tensor::Tensor logits = readout(hidden.slice(first, count));
    if (logits.dtype() == tensor::DType::F32) {
      sink(first_row + first, count, logits.data<float>());
    } else {
      to_floats(logits, block);
      sink(first_row + first, count, block.data());
    }
  }
}

double log_sum_exp(const std::vector<float>& logits) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - largest);
  }
  return largest + std::log(sum);
}

}  // namespace

class Session::State {
 public:
  explicit State(std::shared_ptr<LoadedModel> owner)
      : model(std::move(owner)), cache(model->make_cache(model->lm().cache_layout())) {}

  std::shared_ptr<LoadedModel> model;
  kv::SequenceCache cache;
  std::vector<TokenId> tokens;

  void check_room(std::size_t num_new) const {
    const auto total = to_index(tokens.size() + num_new);
    if (num_new == 0) {
      fail(ErrorCode::InvalidArgument, "append: expected at least one token, found none");
    }
    if (total > model->facts().max_context) {
      fail(ErrorCode::InvalidArgument, "append: ", total, " tokens, expected at most ",
           model->facts().max_context, " (the model's context)");
    }
  }

  // Computes the tokens step by step; `use(context, hidden, first)` sees the result for the tokens
  // from the first-th on before the step's memory is taken back. The session changes only when all
  // steps succeeded.
  template <typename Use>
  void compute(std::span<const TokenId> added, const Use& use) {
    ops::Context& context = model->context();
    const Index total = to_index(added.size());
    try {
      for (Index first = 0; first < total; first += model->step_tokens()) {
        const tensor::Arena::Scope scope(context.arena);
        const Index count = std::min(model->step_tokens(), total - first);
        const auto part = added.subspan(to_size(first), to_size(count));
        use(context,
            layers::run_step(model->lm(), context,
                             layers::TokenBatch::single(context.arena, part, cache)),
            first);
      }
      tokens.insert(tokens.end(), added.begin(), added.end());
    } catch (...) {
      replay(to_index(tokens.size()));
      throw;
    }
  }

  // Brings the cache to the first `target` of `tokens`; returns how many were computed again.
  Index replay(Index target) {
    ops::Context& context = model->context();
    const Index resumed = cache.truncate(target);
    for (Index first = resumed; first < target; first += model->step_tokens()) {
      const tensor::Arena::Scope scope(context.arena);
      const Index count = std::min(model->step_tokens(), target - first);
      const auto part = std::span<const TokenId>(tokens).subspan(to_size(first), to_size(count));
      layers::run_step(model->lm(), context,
                       layers::TokenBatch::single(context.arena, part, cache));
    }
    return target - resumed;
  }
};

// Here because only this file knows what a session is made of.
Session LoadedModel::start() {
  return Session(
      std::make_unique<Session::State>(std::static_pointer_cast<LoadedModel>(shared_from_this())));
}

std::shared_ptr<Model> Model::open(const std::string& path, const ModelOptions& options) {
  return std::make_shared<LoadedModel>(path, options);
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::int64_t Session::num_tokens() const {
  return to_index(state_->tokens.size());
}
const std::vector<TokenId>& Session::tokens() const {
  return state_->tokens;
}

std::vector<float> Session::append(std::span<const TokenId> tokens) {
  state_->check_room(tokens.size());
  std::vector<float> last;
  state_->compute(tokens, [&](ops::Context& context, const tensor::Tensor& hidden, Index first) {
    if (first + hidden.dim(0) == to_index(tokens.size())) {
      to_floats(state_->model->lm().logits(context, hidden.slice(hidden.dim(0) - 1, 1)), last);
    }
  });
  return last;
}

void Session::append(std::span<const TokenId> tokens, const LogitsSink& sink) {
  state_->check_room(tokens.size());
  state_->compute(tokens, [&](ops::Context& context, const tensor::Tensor& hidden, Index first) {
    emit_logits(context, hidden, first, sink, [&](const tensor::Tensor& rows) {
      return state_->model->lm().logits(context, rows);
    });
  });
}

void Session::append_each(std::span<Session* const> sessions,
                          std::span<const TokenId> tokens,
                          const LogitsSink& sink) {
  const std::vector<State*> states = states_of(sessions, tokens);
  try {
    const Index total = to_index(states.size());
    for (Index first = 0; first < total; first += states.front()->model->step_tokens()) {
      const Index count = std::min(states.front()->model->step_tokens(), total - first);
      compute_each(std::span(states).subspan(to_size(first), to_size(count)),
                   tokens.subspan(to_size(first), to_size(count)), first, sink);
    }
    for (State* state : states) {
      state->tokens.reserve(state->tokens.size() + 1);
    }
  } catch (...) {
    for (State* state : states) {
      state->replay(to_index(state->tokens.size()));
    }
    throw;
  }
  for (std::size_t idx = 0; idx < states.size(); ++idx) {
    states[idx]->tokens.push_back(tokens[idx]);
  }
}

// What append_each was given, checked.
std::vector<Session::State*> Session::states_of(std::span<Session* const> sessions,
                                                std::span<const TokenId> tokens) {
  if (sessions.empty() || sessions.size() != tokens.size()) {
    fail(ErrorCode::InvalidArgument, "append_each: ", sessions.size(), " sessions and ",
         tokens.size(), " tokens, expected as many of both, and at least one");
  }
  std::vector<State*> states;
  for (Session* session : sessions) {
    State* state = session->state_.get();
    if (!states.empty() && state->model != states.front()->model) {
      fail(ErrorCode::InvalidArgument, "append_each: sessions of different models");
    }
    if (std::find(states.begin(), states.end(), state) != states.end()) {
      fail(ErrorCode::InvalidArgument, "append_each: a session is listed twice");
    }
    state->check_room(1);
    states.push_back(state);
  }
  return states;
}

// One step of one token each; the sink's rows begin at `first_row`.
void Session::compute_each(std::span<State* const> states,
                           std::span<const TokenId> tokens,
                           Index first_row,
                           const LogitsSink& sink) {
  LoadedModel& model = *states.front()->model;
  ops::Context& context = model.context();
  std::vector<kv::KvStore*> caches;
  for (State* state : states) {
    caches.push_back(&state->cache);
  }
  const std::vector<Index> counts(states.size(), 1);
  const tensor::Arena::Scope scope(context.arena);
  const tensor::Tensor hidden = layers::run_step(
      model.lm(), context, layers::TokenBatch::of(context.arena, tokens, counts, caches));
  emit_logits(context, hidden, first_row, sink,
              [&](const tensor::Tensor& rows) { return model.lm().logits(context, rows); });
}

void Session::append_for_draft(std::span<const TokenId> tokens, const LogitsSink& sink) {
  const layers::DraftModule* draft = state_->model->lm().draft();
  if (draft == nullptr) {
    fail(ErrorCode::Unsupported, "this model has no multi-token prediction (MTP) block");
  }
  const Index total = to_index(tokens.size());
  if (num_tokens() != 0 || total < 2) {
    fail(ErrorCode::InvalidArgument,
         "draft logits: expected a fresh session and at least 2 tokens, found ", num_tokens(),
         " tokens in it and ", total, " new ones");
  }
  state_->check_room(tokens.size());
  kv::SequenceCache draft_cache = state_->model->make_cache(draft->cache_layout());
  state_->compute(tokens, [&](ops::Context& context, const tensor::Tensor& hidden, Index first) {
    // The last token of all has no next one.
    const Index count = std::min(hidden.dim(0), total - 1 - first);
    if (count == 0) {
      return;
    }
    const auto next = tokens.subspan(to_size(first + 1), to_size(count));
    const tensor::Tensor drafted = layers::run_step(
        *draft, context, layers::TokenBatch::single(context.arena, next, draft_cache),
        hidden.slice(0, count));
    emit_logits(context, drafted, first, sink,
                [&](const tensor::Tensor& rows) { return draft->logits(context, rows); });
  });
}

std::int64_t Session::truncate(std::int64_t num_tokens) {
  if (num_tokens < 0 || num_tokens > this->num_tokens()) {
    fail(ErrorCode::InvalidArgument, "truncate: found ", num_tokens, " tokens, expected 0 to ",
         this->num_tokens());
  }
  const Index replayed = state_->replay(num_tokens);
  state_->tokens.resize(to_size(num_tokens));
  return replayed;
}

Session Session::fork() const {
  auto copy = std::make_unique<State>(state_->model);
  copy->cache = state_->cache;
  copy->tokens = state_->tokens;
  return Session(std::move(copy));
}

Generated Session::generate(std::vector<float> logits, const GenerateOptions& options) {
  Generated generated;
  while (to_index(generated.tokens.size()) < options.max_tokens) {
    // The lowest id wins a tie.
    const auto best = std::max_element(logits.begin(), logits.end());
    const auto token = static_cast<TokenId>(best - logits.begin());
    generated.tokens.push_back(token);
    generated.logprobs.push_back(static_cast<double>(*best) - log_sum_exp(logits));
    if (options.on_token) {
      options.on_token(token, generated.logprobs.back());
    }
    const bool is_end = options.stop_at_end_token && state_->model->is_end_token(token);
    if (is_end || to_index(generated.tokens.size()) == options.max_tokens) {
      break;
    }
    logits = append({&token, 1});
  }
  return generated;
}

std::int64_t Session::cache_bytes() const {
  return state_->cache.num_bytes();
}

}  // namespace fathom
