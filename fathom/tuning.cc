#include "fathom/tuning.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "fathom/adapters.h"
#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/text_model.h"
#include "fathom/train/loop/export.h"
#include "fathom/train/loop/language_objective.h"
#include "fathom/train/loop/parameters.h"
#include "fathom/train/optim/schedule.h"
#include "fathom/train/tune/adapter_model.h"
#include "fathom/train/tune/chat_examples.h"
#include "fathom/train/tune/dpo_objective.h"
#include "fathom/train/tune/example_source.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr Index kSequenceTokens = 2048;
constexpr const char* kRunFolder = "run";
constexpr const char* kModelFolder = "model";

void require(bool is_right, const char* option, const std::string& expected) {
  if (!is_right) {
    fail(ErrorCode::InvalidArgument, option, ": ", expected);
  }
}

TuneSettings checked(TuneSettings settings) {
  require(settings.hold_out >= 0 && settings.hold_out < 1, "--hold-out",
          "expected a share of the examples, from 0 to less than 1");
  require(settings.epochs > 0 || settings.steps > 0, "--epochs", "expected more than 0");
  require(settings.learning_rate >= 0, "--learning-rate", "expected more than 0");
  require(settings.warmup_share >= 0 && settings.warmup_share <= 1, "--warmup",
          "expected a share of the steps, from 0 to 1");
  require(settings.scale > 0 && std::isfinite(settings.scale), "--lora-scale",
          "expected more than 0");
  return settings;
}

runtime::RuntimeOptions runtime_options(const TuneSettings& settings) {
  const auto numerics = ops::numerics_from_name(settings.numerics);
  require(numerics && *numerics != ops::Numerics::Fast, "--numerics",
          "expected high or official (fast multiplies int8 blocks, which have no gradients)");
  return {.num_threads = settings.threads,
          .pin_to_cores = false,
          .backend = settings.backend,
          .numerics = *numerics};
}

double learning_rate_of(const TuneSettings& settings) {
  constexpr double kAdapterRate = 2e-4;
  constexpr double kFullRate = 1e-5;
  constexpr double kPairsShare = 0.1;
  if (settings.learning_rate > 0) {
    return settings.learning_rate;
  }
  return (settings.is_full ? kFullRate : kAdapterRate) * (settings.is_dpo ? kPairsShare : 1);
}

// What is trained, and the layers that see it.
class TunedModel {
 public:
  virtual ~TunedModel() = default;
  virtual train::TrainedModel& trained() = 0;
  virtual std::vector<optim::Parameter> parameters() const = 0;
  virtual const layers::CausalLm& lm() const = 0;
  // The model as it was.
  virtual const layers::CausalLm& reference() = 0;
  // Returns the path of what it wrote.
  virtual fs::path write(const TuneSettings& settings, platform::ThreadPool& pool) const = 0;
};

class AdapterTuning final : public TunedModel {
 public:
  AdapterTuning(const OpenedModel& opened, const TuneSettings& settings)
      : opened_(opened),
        adapter_(make(opened, settings)),
        trained_(*adapter_, names_of(opened.config.model.family)),
        lm_(build_model(adapted(opened, adapter_))) {}

  train::TrainedModel& trained() override { return trained_; }
  std::vector<optim::Parameter> parameters() const override { return trained_.parameters(); }
  const layers::CausalLm& lm() const override { return *lm_; }
  const layers::CausalLm& reference() override {
    if (reference_ == nullptr) {
      reference_ = build_model(opened_);
    }
    return *reference_;
  }
  fs::path write(const TuneSettings& settings, platform::ThreadPool& /*pool*/) const override {
    weights::write_adapter(settings.out, *adapter_, adapter_base(opened_), true);
    return settings.out;
  }

 private:
  static std::shared_ptr<weights::Adapter> make(const OpenedModel& opened,
                                                const TuneSettings& settings) {
    const config::ModelConfig& config = opened.config.model;
    const std::string targets =
        settings.targets.empty() ? default_targets(config) : settings.targets;
    auto adapter = weights::make_adapter(
        config, {.ranks = config::parse_adapter_targets(targets, config, settings.rank),
                 .scale = settings.scale,
                 .seed = static_cast<std::uint64_t>(settings.seed)});
    adapter->base_model = settings.model;
    adapter->base_fingerprint = weights_identity(*opened.checkpoint);
    return adapter;
  }
  // Those that every token meets.
  static std::string default_targets(const config::ModelConfig& config) {
    return config.num_experts > 0 ? "attention,shared" : "attention,mlp";
  }

  OpenedModel opened_;
  std::shared_ptr<weights::Adapter> adapter_;
  tune::AdapterModel trained_;
  std::unique_ptr<layers::CausalLm> lm_;
  std::unique_ptr<layers::CausalLm> reference_;
};

class FullTuning final : public TunedModel, private train::TrainedModel {
 public:
  explicit FullTuning(OpenedModel opened)
      : opened_(std::move(opened)),
        list_((opened_.store->make_trainable(), opened_.config.model),
              *opened_.store,
              names_of(opened_.config.model.family),
              {.matrices = optim::Method::AdamW}),
        lm_(build_model(opened_)) {
    list_.declare(gradients_);
  }

  train::TrainedModel& trained() override { return *this; }
  std::vector<optim::Parameter> parameters() const override { return list_.parameters(); }
  const layers::CausalLm& lm() const override { return *lm_; }
  const layers::CausalLm& reference() override {
    if (reference_ == nullptr) {
      frozen_ = open_model(opened_.checkpoint->files().front());
      reference_ = build_model(frozen_);
    }
    return *reference_;
  }
  fs::path write(const TuneSettings& settings, platform::ThreadPool& pool) const override {
    const fs::path folder = fs::path(settings.out) / kModelFolder;
    std::error_code ignored;
    const bool has_text = fs::exists(fs::path(settings.model) / "tokenizer.json", ignored);
    train::export_model({.config = opened_.config.model,
                         .names = names_of(opened_.config.model.family),
                         .store = *opened_.store},
                        config::storage_plan_from_name(settings.storage), folder,
                        {.overwrite = true, .text_files = has_text ? settings.model : ""}, pool);
    return folder;
  }

 private:
  autograd::ParameterGradients& gradients() override { return gradients_; }
  std::vector<std::span<const float>> gradient_values() override {
    return list_.gradients(gradients_);
  }
  void follow_update(const train::LossSums& /*sums*/) override {}
  void refresh() override {}
  std::vector<optim::StateTensor> state() override { return {}; }

  OpenedModel opened_;
  OpenedModel frozen_;
  train::ParameterList list_;
  autograd::ParameterGradients gradients_{tensor::DType::F32};
  std::unique_ptr<layers::CausalLm> lm_;
  std::unique_ptr<layers::CausalLm> reference_;
};

std::unique_ptr<TunedModel> open_tuned(const TuneSettings& settings, const ops::Context& context) {
  OpenedModel opened = open_model(settings.model);
  check_numerics(opened.config.model.family, context.numerics);
  if (settings.is_full) {
    return std::make_unique<FullTuning>(std::move(opened));
  }
  return std::make_unique<AdapterTuning>(opened, settings);
}

}  // namespace

class Tuning::Parts {
 public:
  explicit Parts(const TuneSettings& settings)
      : settings_(checked(settings)),
        runtime_(runtime_options(settings)),
        model_(open_tuned(settings, runtime_.context())) {
    read_examples();
    make_objective();
    make_schedule();
  }

  const TuneFacts& facts() const { return facts_; }

  TuneResult run(train::RunObserver& observer, const std::function<bool()>& is_stop_wanted) {
    // Before anything of a checkpoint is put back: the model as it was.
    const tune::ExampleLosses losses_before = evaluate();
    TuneResult result;
    result.before = evaluation_of(losses_before);
    const auto optimizer =
        optim::make_optimizer(model_->parameters(),
                              {.adamw = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8},
                               .weight_decay = settings_.weight_decay},
                              runtime_.pool());
    const auto start = platform::Clock::now();
    train::TrainingRun training(
        {.trainer = {.context = runtime_.context(),
                     .objective = *objective_,
                     .source = *source_,
                     .optimizer = *optimizer,
                     .model = model_->trained(),
                     .learning_rate =
                         [this](Index step) { return optim::learning_rate(schedule_, step - 1); }},
         .validation = validation_.get(),
         .observer = observer,
         .seconds = [start] { return platform::seconds_since(start); },
         .is_stop_wanted = is_stop_wanted},
        {.batches_per_step = settings_.step_batches, .clip_norm = settings_.clip_norm},
        run_options());
    training.resume([this](const std::string& before) { check_same(before); });
    result.outcome = training.run();
    if (result.outcome.reason == train::StopReason::Interrupted) {
      return result;
    }
    const tune::ExampleLosses losses_after = evaluate();
    result.after = evaluation_of(losses_after);
    if (result.after) {
      result.difference = tune::difference_of(losses_before, losses_after);
    }
    result.path = model_->write(settings_, runtime_.pool()).string();
    return result;
  }

 private:
  Index most_tokens() const {
    const Index context = model_->lm().config().max_context;
    const Index wanted = settings_.sequence_tokens;
    require(wanted <= context, "--sequence",
            fmt::format("expected at most {}, the model's context", context));
    return wanted > 0 ? wanted : std::min(kSequenceTokens, context);
  }

  void read_examples() {
    const text::TextModel text = open_text_model(settings_.model);
    const tune::ExampleOptions options{.most_tokens = most_tokens(),
                                       .cuts_long = settings_.cuts_long};
    const auto read = [&](const std::string& file) {
      tune::ExampleSet set = settings_.is_dpo ? tune::read_preference_examples(file, text, options)
                                              : tune::read_chat_examples(file, text, options);
      facts_.num_cut += set.num_cut;
      facts_.num_left_out += set.num_left_out;
      if (set.examples.empty()) {
        fail(ErrorCode::InvalidArgument, file, ": found no example, expected some");
      }
      return std::move(set.examples);
    };
    std::vector<tune::Example> examples = read(settings_.data);
    held_out_ = settings_.validation.empty()
                    ? tune::hold_out(examples, settings_.hold_out,
                                     static_cast<std::uint64_t>(settings_.seed))
                    : read(settings_.validation);
    facts_.num_examples = to_index(examples.size());
    facts_.num_held_out = to_index(held_out_.size());
    for (const tune::Example& example : examples) {
      facts_.epoch_tokens += example.num_rows();
    }
    const Index batch_tokens = settings_.batch_tokens > 0 ? settings_.batch_tokens : most_tokens();
    source_.emplace(std::move(examples),
                    tune::ExampleSourceOptions{.batch_tokens = batch_tokens,
                                               .seed = static_cast<std::uint64_t>(settings_.seed)});
    if (settings_.validate_every > 0 && !held_out_.empty()) {
      validation_ = std::make_unique<tune::ExampleSource>(
          held_out_, tune::ExampleSourceOptions{.shuffles = false});
    }
  }

  void make_objective() {
    if (settings_.is_dpo) {
      auto dpo = std::make_unique<tune::DpoObjective>(model_->lm(), model_->reference(),
                                                      tune::DpoOptions{.beta = settings_.beta});
      dpo_ = dpo.get();
      objective_ = std::move(dpo);
    } else {
      // Replies teach what they are, not how to route or to guess ahead.
      objective_ = std::make_unique<train::LanguageObjective>(
          model_->lm(), train::LanguageOptions{.mtp_coefficient = 0, .balance_coefficient = 0});
    }
  }

  void make_schedule() {
    const double batches = settings_.epochs * static_cast<double>(source_->batches_per_epoch());
    const Index steps =
        settings_.steps > 0
            ? settings_.steps
            : std::max<Index>(1, static_cast<Index>(std::ceil(
                                     batches / static_cast<double>(settings_.step_batches))));
    const double rate = learning_rate_of(settings_);
    schedule_ = {
        .kind = optim::ScheduleKind::Cosine,
        .peak = rate,
        .end = 0.1 * rate,
        .num_steps = steps,
        .warmup_steps = static_cast<Index>(settings_.warmup_share * static_cast<double>(steps))};
    optim::check_schedule(schedule_);
    facts_.num_steps = steps;
    for (const optim::Parameter& parameter : model_->parameters()) {
      facts_.trained_parameters += to_index(parameter.values.size());
    }
    facts_.backend = runtime_.backend_name();
    facts_.num_threads = runtime_.pool().num_threads();
  }

  train::RunOptions run_options() const {
    return {.folder = fs::path(settings_.out) / kRunFolder,
            .num_steps = facts_.num_steps,
            .checkpoint_every = settings_.checkpoint_every,
            .validate_every = validation_ == nullptr ? 0 : settings_.validate_every,
            .validation_batches = facts_.num_held_out,
            .settings = settings_text()};
  }

  // What results depend on besides the examples, whose state is compared by itself.
  std::string settings_text() const {
    return fmt::format(
        "model {}\nfull {}\ntargets {}\nrank {}\nscale {}\ndpo {}\nbeta {}\nstep_batches {}\n"
        "steps {}\nrate {}\nwarmup {}\nweight_decay {}\nclip {}\nnumerics {}\n",
        settings_.model, settings_.is_full, settings_.targets, settings_.rank, settings_.scale,
        settings_.is_dpo, settings_.beta, settings_.step_batches, facts_.num_steps, schedule_.peak,
        schedule_.warmup_steps, settings_.weight_decay, settings_.clip_norm, settings_.numerics);
  }

  void check_same(const std::string& before) const {
    const std::string now = settings_text();
    const auto [at, other] = std::mismatch(before.begin(), before.end(), now.begin(), now.end());
    if (at == before.end() && other == now.end()) {
      return;
    }
    const auto line = [](const std::string& text, std::ptrdiff_t place) {
      const auto last = static_cast<std::size_t>(place);
      const std::size_t begin = last == 0 ? 0 : text.rfind('\n', last - 1) + 1;
      return text.substr(begin, text.find('\n', begin) - begin);
    };
    fail(ErrorCode::InvalidArgument, "--out ", settings_.out,
         ": a run with other options is in this folder: it had \"",
         line(before, at - before.begin()), "\", now \"", line(now, other - now.begin()), "\"");
  }

  tune::ExampleLosses evaluate() {
    return held_out_.empty() ? tune::ExampleLosses{}
                             : tune::losses_of(held_out_, *objective_, runtime_.context());
  }

  std::optional<TuneEvaluation> evaluation_of(const tune::ExampleLosses& losses) {
    if (held_out_.empty()) {
      return std::nullopt;
    }
    TuneEvaluation evaluation{.loss = tune::mean_of(losses)};
    if (dpo_ != nullptr) {
      Index preferred = 0;
      for (const tune::Example& example : held_out_) {
        preferred += dpo_->margins(runtime_.context(), tune::batch_of(example)).front() > 0 ? 1 : 0;
      }
      evaluation.preferred_share =
          static_cast<double>(preferred) / static_cast<double>(held_out_.size());
    }
    return evaluation;
  }

  TuneSettings settings_;
  runtime::Runtime runtime_;
  std::unique_ptr<TunedModel> model_;
  std::vector<tune::Example> held_out_;
  std::optional<tune::ExampleSource> source_;
  std::unique_ptr<tune::ExampleSource> validation_;
  tune::DpoObjective* dpo_ = nullptr;  // where it is the objective
  std::unique_ptr<train::Objective> objective_;
  optim::ScheduleOptions schedule_;
  TuneFacts facts_;
};

Tuning::Tuning(const TuneSettings& settings) : parts_(std::make_unique<Parts>(settings)) {}
Tuning::~Tuning() = default;

const TuneFacts& Tuning::facts() const {
  return parts_->facts();
}

TuneResult Tuning::run(train::RunObserver& observer, const std::function<bool()>& is_stop_wanted) {
  return parts_->run(observer, is_stop_wanted);
}

}  // namespace fathom
