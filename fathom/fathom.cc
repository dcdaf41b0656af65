#include "fathom/fathom.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom {
namespace {

// Rows of logits computed at a time: bounds memory, does not change the rows.
constexpr Index kLogitsRows = 256;

class LoadedModel final : public Model {
 public:
  LoadedModel(const std::string& path, const ModelOptions& options)
      : runtime_(runtime_options(options)),
        opened_(open_model(path, {.huge_pages = options.huge_pages})),
        lm_(build_model(opened_)),
        cache_options_{.raw_tokens = options.raw_tokens,
                       .checkpoint_interval = options.checkpoint_interval},
        facts_{.family = std::string(config::to_string(opened_.config.model.family)),
               .backend = runtime_.backend_name(),
               .numerics = options.numerics,
               .vocab_size = opened_.config.model.vocab_size,
               .max_context = opened_.config.model.max_context,
               .num_layers = opened_.config.model.num_layers(),
               .has_draft = lm_->draft() != nullptr} {}

  const ModelFacts& facts() const override { return facts_; }
  Session start() override;

  ops::Context& context() { return runtime_.context(); }
  const layers::CausalLm& lm() const { return *lm_; }
  Index end_token() const { return opened_.config.model.eos_token; }
  kv::SequenceCache make_cache(const std::vector<config::CacheStream>& layout) {
    return {layout, context().real, cache_options_};
  }

 private:
  static runtime::RuntimeOptions runtime_options(const ModelOptions& options) {
    const auto numerics = ops::numerics_from_name(options.numerics);
    if (!numerics) {
      fail(ErrorCode::InvalidArgument, "numerics: found \"", options.numerics,
           "\", expected high or official");
    }
    return {.num_threads = options.num_threads,
            .pin_to_cores = options.pin_threads,
            .backend = options.backend,
            .numerics = *numerics};
  }

  runtime::Runtime runtime_;
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  kv::CacheOptions cache_options_;
  ModelFacts facts_;
};

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

// Hands out the logits of hidden rows block by block; `readout` maps hidden rows to logits.
template <typename Readout>
void emit_logits(ops::Context& context,
                 const tensor::Tensor& hidden,
                 const LogitsSink& sink,
                 const Readout& readout) {
  std::vector<float> block;
  for (Index first = 0; first < hidden.dim(0); first += kLogitsRows) {
    const tensor::Arena::Scope scope(context.arena);
    const Index count = std::min(kLogitsRows, hidden.dim(0) - first);
    to_floats(readout(hidden.slice(first, count)), block);
    sink(first, count, block.data());
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

  // One step; `use(hidden)` sees its result before the step's memory is taken back. The session's
  // state changes only when both succeeded.
  template <typename Use>
  void step(std::span<const TokenId> added, const Use& use) {
    ops::Context& context = model->context();
    const tensor::Arena::Scope scope(context.arena);
    const auto batch = layers::TokenBatch::single(added, cache);
    const tensor::Tensor hidden = layers::run_step(model->lm(), context, batch);
    try {
      use(context, hidden);
      tokens.insert(tokens.end(), added.begin(), added.end());
    } catch (...) {
      replay(to_index(tokens.size()));
      throw;
    }
  }

  // Brings the cache to the first `target` of `tokens`; returns how many were computed again.
  Index replay(Index target) {
    const Index resumed = cache.truncate(target);
    if (resumed < target) {
      const tensor::Arena::Scope scope(model->context().arena);
      const auto missing =
          std::span<const TokenId>(tokens).subspan(to_size(resumed), to_size(target - resumed));
      layers::run_step(model->lm(), model->context(), layers::TokenBatch::single(missing, cache));
    }
    return target - resumed;
  }
};

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
  state_->step(tokens, [&](ops::Context& context, const tensor::Tensor& hidden) {
    to_floats(state_->model->lm().logits(context, hidden.slice(hidden.dim(0) - 1, 1)), last);
  });
  return last;
}

void Session::append(std::span<const TokenId> tokens, const LogitsSink& sink) {
  state_->check_room(tokens.size());
  state_->step(tokens, [&](ops::Context& context, const tensor::Tensor& hidden) {
    emit_logits(context, hidden, sink, [&](const tensor::Tensor& rows) {
      return state_->model->lm().logits(context, rows);
    });
  });
}

void Session::append_for_draft(std::span<const TokenId> tokens, const LogitsSink& sink) {
  const layers::DraftModule* draft = state_->model->lm().draft();
  if (draft == nullptr) {
    fail(ErrorCode::Unsupported, "this model has no multi-token prediction (MTP) block");
  }
  if (num_tokens() != 0 || tokens.size() < 2) {
    fail(ErrorCode::InvalidArgument,
         "draft logits: expected a fresh session and at least 2 tokens, found ", num_tokens(),
         " tokens in it and ", tokens.size(), " new ones");
  }
  state_->check_room(tokens.size());
  kv::SequenceCache draft_cache = state_->model->make_cache(draft->cache_layout());
  state_->step(tokens, [&](ops::Context& context, const tensor::Tensor& hidden) {
    const auto next = layers::TokenBatch::single(tokens.subspan(1), draft_cache);
    const tensor::Tensor drafted =
        layers::run_step(*draft, context, next, hidden.slice(0, hidden.dim(0) - 1));
    emit_logits(context, drafted, sink,
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
    const bool is_end = options.stop_at_end_token && token == state_->model->end_token();
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
