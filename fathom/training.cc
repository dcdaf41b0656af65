#include "fathom/training.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/config/training_footprint.h"
#include "fathom/model/weights/synth.h"
#include "fathom/text_model.h"
#include "fathom/train/data/fingerprint.h"
#include "fathom/train/data/packed_source.h"
#include "fathom/train/loop/distillation_objective.h"
#include "fathom/train/loop/export.h"
#include "fathom/train/loop/parameters.h"
#include "fathom/train/loop/quantisation_aware.h"
#include "fathom/train/loop/router_bias.h"
#include "fathom/train/optim/ema.h"
#include "fathom/train/optim/schedule.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInitialFolder = "initial";
constexpr const char* kModelFolder = "model";

void require(bool is_right, const char* setting, const std::string& expected) {
  if (!is_right) {
    fail(ErrorCode::InvalidArgument, setting, ": ", expected);
  }
}

TrainSettings checked(TrainSettings settings) {
  const auto& [run, model, data, schedule, optimizer, loss, quantisation, validation, guard,
               checkpoint] = settings;
  require(!run.folder.empty(), "run.folder", "is missing, expected the folder to train in");
  require(model.config.empty() != model.path.empty(), "model",
          "expected either config (a new model) or path (one to go on from)");
  require(!data.folders.empty(), "data.folders", "is missing, expected folders of data");
  require(data.weights.empty() || data.weights.size() == data.folders.size(), "data.weights",
          "expected one for each of data.folders, or none");
  require(data.step_sequences % data.batch_sequences == 0, "data.step_sequences",
          "expected a multiple of data.batch_sequences");
  require(schedule.steps >= 1, "schedule.steps", "is missing, expected at least 1");
  require(run.weights != "best" || validation.every > 0, "run.weights",
          "best needs validation.every");
  require(run.weights != "average" || optimizer.average > 0, "run.weights",
          "average needs optimizer.average");
  return settings;
}

runtime::RuntimeOptions runtime_options(const TrainSettings::Run& run) {
  const auto numerics = ops::numerics_from_name(run.numerics);
  require(numerics && *numerics != ops::Numerics::Fast, "run.numerics",
          "expected high or official");
  require(run.gradient_products == "fp32" || run.gradient_products == "bf16",
          "run.gradient_products", "expected fp32 or bf16");
  return {.num_threads = static_cast<int>(run.threads),
          .pin_to_cores = false,
          .backend = run.backend,
          .numerics = *numerics,
          .gradient_operands =
              run.gradient_products == "bf16" ? ops::Rounding::Bf16 : ops::Rounding::None};
}

optim::ScheduleOptions schedule_options(const TrainSettings::Schedule& schedule) {
  const auto kind = optim::schedule_kind_from_name(schedule.kind);
  const auto curve = optim::decay_curve_from_name(schedule.curve);
  require(kind.has_value(), "schedule.kind", "expected constant, cosine or wsd");
  require(curve.has_value(), "schedule.curve", "expected linear, cosine or 1-sqrt");
  optim::ScheduleOptions options{.kind = *kind,
                                 .peak = schedule.peak,
                                 .end = schedule.end,
                                 .num_steps = schedule.steps,
                                 .warmup_steps = schedule.warmup_steps,
                                 .decay_steps = schedule.decay_steps,
                                 .curve = *curve};
  optim::check_schedule(options);
  return options;
}

optim::OptimizerOptions optimizer_options(const TrainSettings::Optimizer& optimizer) {
  return {
      .adamw = {.beta1 = optimizer.beta1, .beta2 = optimizer.beta2, .epsilon = optimizer.epsilon},
      .muon = {.momentum = optimizer.momentum, .update_rms = optimizer.update_rms},
      .weight_decay = optimizer.weight_decay};
}

bool has_checkpoints(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", ignored)) {
    if (entry.path().extension() == ".safetensors") {
      return true;
    }
  }
  return false;
}

// A new model's first checkpoint: numbers in F32, and the tables that are never trained. Made again
// until there is a checkpoint of the run, which counts on it.
fs::path make_initial(const TrainSettings& settings,
                      const fs::path& folder,
                      platform::ThreadPool& pool) {
  const fs::path path = folder / kInitialFolder;
  const config::StoragePlan storage = config::storage_plan_from_name("f32");
  const config::ParsedConfig parsed =
      config::parse_config_json(platform::read_file(settings.model.config), settings.model.config);
  if (has_checkpoints(folder)) {
    if (platform::read_file(path / "config.json") !=
        config::make_config_json(parsed.model, storage)) {
      fail(ErrorCode::InvalidArgument, "model.config: ", settings.model.config,
           ": is not what the run in ", folder.string(),
           " began with (put it back, or name another run.folder)");
    }
    return path;
  }
  weights::write_synthetic(parsed.model, storage, names_of(parsed.model.family), path,
                           {.values = weights::SynthValues::Initial,
                            .seed = static_cast<std::uint64_t>(settings.model.seed),
                            .overwrite = true},
                           pool);
  return path;
}

std::vector<data::DataSet> open_data(const TrainSettings::Data& settings) {
  std::vector<data::DataSet> sets;
  for (std::size_t idx = 0; idx < settings.folders.size(); ++idx) {
    sets.push_back(data::open_data_set(settings.folders[idx]));
    if (!settings.weights.empty()) {
      sets.back().weight = settings.weights[idx];
    }
  }
  return sets;
}

data::PackedOptions packed_options(const TrainSettings::Data& settings, data::Split split) {
  return {.sequence_tokens = settings.sequence_tokens,
          .num_sequences = settings.batch_sequences,
          .seed = static_cast<std::uint64_t>(settings.seed),
          .split = split};
}

// Removed at the end: a model that only --check looks at.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "fathom-train-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      fail(ErrorCode::Io, "create ", name, ": no temporary folder");
    }
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The model's layers, what of it is trained, and what follows each update.
class OpenedForTraining final : public train::TrainedModel {
 public:
  OpenedForTraining(const fs::path& path,
                    const TrainSettings& settings,
                    const ops::Context& context,
                    platform::ThreadPool& pool)
      : pool_(pool),
        opened_(open_trainable(path, context.numerics)),
        list_(opened_.config.model,
              *opened_.store,
              names_of(opened_.config.model.family),
              {.matrices = settings.optimizer.matrices == "adamw" ? optim::Method::AdamW
                                                                  : optim::Method::Muon,
               .vectors_decay = settings.optimizer.vectors_decay,
               .trained = settings.model.trained,
               .frozen = settings.model.frozen}),
        gradients_(context.real),
        bias_speed_(settings.loss.router_bias_speed) {
    if (settings.quantisation.is_aware) {
      aware_.emplace(opened_.config.model, storage(settings), names_of(opened_.config.model.family),
                     *opened_.store, list_, pool);
    }
    lm_ = build_model(opened_);
    list_.declare(gradients_);
  }

  autograd::ParameterGradients& gradients() override { return gradients_; }
  std::vector<std::span<const float>> gradient_values() override {
    return list_.gradients(gradients_);
  }
  void follow_update(const train::LossSums& sums) override {
    refresh();
    train::update_router_biases(*opened_.store, config(), sums.expert_tokens, bias_speed_);
  }
  void refresh() override {
    if (aware_) {
      aware_->update_layers(pool_);
    }
  }
  // Biases of routers, which no optimiser knows.
  std::vector<optim::StateTensor> state() override {
    std::vector<optim::StateTensor> tensors;
    for (const config::WeightSpec& spec : config::weight_table(config())) {
      if (spec.key.role == config::WeightRole::RouterBias && opened_.store->has(spec.key)) {
        const std::span<float> values = opened_.store->trainable(spec.key);
        tensors.push_back({names_of(config().family).name(weights::Dialect::Official, spec.key, 0),
                           1, to_index(values.size()), values});
      }
    }
    return tensors;
  }

  static config::StoragePlan storage(const TrainSettings& settings) {
    return config::storage_plan_from_name(settings.quantisation.storage);
  }
  const OpenedModel& opened() const { return opened_; }
  const config::ModelConfig& config() const { return opened_.config.model; }
  const layers::CausalLm& lm() const { return *lm_; }
  const train::ParameterList& list() const { return list_; }
  Index master_bytes() const { return aware_ ? aware_->master_bytes() : 0; }

 private:
  static OpenedModel open_trainable(const fs::path& path, ops::Numerics numerics) {
    OpenedModel opened = open_model(path);
    check_numerics(opened.config.model.family, numerics);
    opened.store->make_trainable();
    return opened;
  }

  platform::ThreadPool& pool_;
  OpenedModel opened_;
  train::ParameterList list_;
  autograd::ParameterGradients gradients_;
  double bias_speed_;
  std::optional<train::QuantisationAware> aware_;
  std::unique_ptr<layers::CausalLm> lm_;
};

}  // namespace

class Training::Parts {
 public:
  Parts(const TrainSettings& settings, std::string settings_text, bool is_check)
      : settings_(checked(settings)),
        settings_text_(std::move(settings_text)),
        runtime_(runtime_options(settings.run)),
        schedule_(schedule_options(settings.schedule)),
        sets_(open_data(settings.data)),
        source_(sets_, packed_options(settings.data, data::Split::Train)),
        scratch_(is_check && settings.model.path.empty() ? std::make_unique<Scratch>() : nullptr),
        model_(model_path(), settings, runtime_.context(), runtime_.pool()),
        objective_(make_objective()),
        optimizer_(optim::make_optimizer(
            model_.list().parameters(), optimizer_options(settings.optimizer), runtime_.pool())) {
    check_data();
    if (settings.validation.every > 0) {
      validation_.emplace(sets_, packed_options(settings.data, data::Split::Validation));
    }
    if (settings.optimizer.average > 0) {
      average_.emplace(model_.list().parameters(), settings.optimizer.average);
    }
    fill_facts();
  }

  const TrainFacts& facts() const { return facts_; }
  const config::ModelConfig& config() const { return model_.config(); }
  runtime::Runtime& runtime() { return runtime_; }

  Result run(train::RunObserver& observer,
             const std::function<bool()>& is_stop_wanted,
             const train::TrainingRun::Accept& accept) {
    const auto start = platform::Clock::now();
    train::TrainingRun run(
        {.trainer = trainer_parts(),
         .validation = validation_ ? &*validation_ : nullptr,
         .average = average_ ? &*average_ : nullptr,
         .observer = observer,
         .seconds = [start] { return platform::seconds_since(start); },
         .is_stop_wanted = is_stop_wanted},
        {.batches_per_step = settings_.data.step_sequences / settings_.data.batch_sequences,
         .clip_norm = settings_.optimizer.clip_norm,
         .guard = settings_.guard},
        run_options());
    run.resume(accept);
    Result result{.outcome = run.run(), .model = {}};
    if (result.outcome.reason != train::StopReason::Interrupted) {
      result.model = write_model(run);
    }
    return result;
  }

 private:
  fs::path model_path() {
    if (!settings_.model.path.empty()) {
      return settings_.model.path;
    }
    return make_initial(settings_, scratch_ ? scratch_->path() : fs::path(settings_.run.folder),
                        runtime_.pool());
  }

  train::LanguageOptions language_options() const {
    return {.mtp_coefficient = settings_.loss.mtp,
            .balance_coefficient = settings_.loss.balance,
            .indexer_coefficient = settings_.loss.indexer,
            .indexer_warm_up = settings_.loss.indexer_warm_up,
            .recomputation = settings_.loss.recompute ? autograd::Recomputation::Segments
                                                      : autograd::Recomputation::Off};
  }

  // Sets set_mtp_coefficient_ too.
  std::unique_ptr<train::Objective> make_objective() {
    const auto keep = [&](auto objective) -> std::unique_ptr<train::Objective> {
      set_mtp_coefficient_ = [made = objective.get()](double coefficient) {
        made->set_mtp_coefficient(coefficient);
      };
      return objective;
    };
    const TrainSettings::Loss& loss = settings_.loss;
    if (loss.teacher.empty()) {
      return keep(std::make_unique<train::LanguageObjective>(model_.lm(), language_options()));
    }
    check_tokenizer(loss.teacher, "loss.teacher");
    teacher_ = open_model(loss.teacher);
    check_numerics(teacher_.config.model.family, runtime_.context().numerics);
    teacher_lm_ = build_model(teacher_);
    return keep(std::make_unique<train::DistillationObjective>(
        model_.lm(), *teacher_lm_,
        train::DistillationOptions{.language = language_options(),
                                   .weight = loss.teacher_weight,
                                   .top_k = loss.teacher_top_k,
                                   .temperature = loss.teacher_temperature}));
  }

  // Where a model says what its tokens are, they have to be the data's.
  void check_tokenizer(const std::string& path, const char* setting) const {
    std::error_code ignored;
    if (fs::exists(fs::path(path) / "tokenizer.json", ignored) &&
        data::fingerprint_of(*open_tokenizer(path)) != source_.fingerprint()) {
      fail(ErrorCode::InvalidArgument, setting, ": ", path,
           " has another tokenizer than data.folders were made with (fathom data build "
           "--tokenizer takes a model's)");
    }
  }

  train::TrainerParts trainer_parts() {
    return {
        .context = runtime_.context(),
        .objective = *objective_,
        .source = source_,
        .optimizer = *optimizer_,
        .model = model_,
        .learning_rate = [this](Index step) { return optim::learning_rate(schedule_, step - 1); },
        .before_step =
            [this](Index step) {
              const bool decays = step - 1 >= optim::first_decay_step(schedule_);
              set_mtp_coefficient_(decays ? settings_.loss.mtp_in_decay : settings_.loss.mtp);
            }};
  }

  train::RunOptions run_options() const {
    constexpr double kSecondsPerHour = 3600;
    return {.folder = settings_.run.folder,
            .num_steps = settings_.schedule.steps,
            .max_seconds = settings_.schedule.max_hours * kSecondsPerHour,
            .checkpoint_every = settings_.checkpoint.every,
            .keep_checkpoints = settings_.checkpoint.keep,
            .validate_every = settings_.validation.every,
            .validation_batches = validation_batches(),
            .patience = settings_.validation.patience,
            .expert_shares_every = settings_.run.expert_shares_every,
            .settings = settings_text_};
  }

  Index batch_tokens() const {
    return settings_.data.batch_sequences * settings_.data.sequence_tokens;
  }

  // No document twice: at most what is kept apart.
  Index validation_batches() const {
    if (!validation_) {
      return 0;
    }
    const Index wanted = ceil_div(settings_.validation.tokens, batch_tokens());
    return std::max<Index>(1, std::min(wanted, validation_->num_tokens() / batch_tokens()));
  }

  void check_data() const {
    const config::ModelConfig& config = model_.config();
    if (source_.vocabulary_size() > config.vocab_size) {
      fail(ErrorCode::InvalidArgument, "data.folders: vocabulary of ", source_.vocabulary_size(),
           " tokens, the model has ", config.vocab_size, " (vocab_size)");
    }
    if (settings_.data.sequence_tokens > config.max_context) {
      fail(ErrorCode::InvalidArgument, "data.sequence_tokens: found ",
           settings_.data.sequence_tokens, ", expected at most ", config.max_context,
           " (the model's context)");
    }
    if (!settings_.model.path.empty()) {
      check_tokenizer(settings_.model.path, "model.path");
    }
  }

  void fill_facts() {
    const config::ModelConfig& config = model_.config();
    const config::ParameterCount count = config::count_parameters(config);
    facts_.parameters = count.total + count.mtp;
    facts_.active_parameters = count.active;
    facts_.trained_parameters = model_.list().num_numbers();
    facts_.vocabulary_size = config.vocab_size;
    facts_.data_vocabulary_size = source_.vocabulary_size();
    facts_.data_tokens = source_.num_tokens();
    facts_.mean_piece_tokens = std::clamp<Index>(source_.num_tokens() / source_.num_documents(), 1,
                                                 settings_.data.sequence_tokens);
    facts_.validation_tokens = validation_ ? validation_->num_tokens() : 0;
    facts_.step_tokens = settings_.data.step_sequences * settings_.data.sequence_tokens;
    facts_.total_tokens = facts_.step_tokens * settings_.schedule.steps;
    facts_.epochs =
        static_cast<double>(facts_.total_tokens) / static_cast<double>(facts_.data_tokens);
    facts_.memory_bytes = memory_bytes();
    facts_.backend = runtime_.backend_name();
    facts_.num_threads = runtime_.pool().num_threads();
  }

  Index memory_bytes() {
    const TrainSettings::Loss& loss = settings_.loss;
    const config::TrainingBytes step = config::training_bytes(
        model_.config(), {.num_tokens = batch_tokens(),
                          .recomputes_layers = loss.recompute,
                          .has_mtp = loss.mtp > 0,
                          .teaches_indexers = loss.indexer > 0,
                          .is_official = runtime_.context().numerics == ops::Numerics::Official,
                          .is_quantised = true});  // if it is not, this is too much
    Index bytes = step.total() + model_.master_bytes();
    bytes += average_ ? facts_.trained_parameters * to_index(sizeof(float)) : 0;
    bytes += teacher_.checkpoint ? teacher_.checkpoint->total_file_bytes() : 0;
    return bytes;
  }

  // Where the text of the finished model comes from.
  fs::path text_files() const {
    std::error_code ignored;
    for (const fs::path& folder :
         {fs::path(settings_.model.path), fs::path(settings_.data.folders[0])}) {
      if (!folder.empty() && fs::exists(folder / "tokenizer.json", ignored)) {
        return folder;
      }
    }
    return {};
  }

  std::string write_model(train::TrainingRun& run) {
    const bool is_average = settings_.run.weights == "average";
    if (settings_.run.weights == "best") {
      run.restore_best();
    }
    if (is_average) {
      average_->swap_values();
      model_.refresh();
    }
    const fs::path folder = fs::path(settings_.run.folder) / kModelFolder;
    train::export_model({.config = model_.config(),
                         .names = names_of(model_.config().family),
                         .store = *model_.opened().store},
                        OpenedForTraining::storage(settings_), folder,
                        {.overwrite = true, .text_files = text_files()}, runtime_.pool());
    return folder.string();
  }

  TrainSettings settings_;
  std::string settings_text_;
  runtime::Runtime runtime_;
  optim::ScheduleOptions schedule_;
  std::vector<data::DataSet> sets_;
  data::PackedSource source_;
  std::unique_ptr<Scratch> scratch_;
  OpenedForTraining model_;
  std::optional<data::PackedSource> validation_;
  OpenedModel teacher_;
  std::unique_ptr<layers::CausalLm> teacher_lm_;
  std::function<void(double)> set_mtp_coefficient_;
  std::unique_ptr<train::Objective> objective_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::optional<optim::WeightAverage> average_;
  TrainFacts facts_;
};

Training::Training(const TrainSettings& settings, std::string settings_text, bool is_check)
    : parts_(std::make_unique<Parts>(settings, std::move(settings_text), is_check)) {}
Training::~Training() = default;

const TrainFacts& Training::facts() const {
  return parts_->facts();
}

const config::ModelConfig& Training::config() const {
  return parts_->config();
}

double Training::measure_peak_flop_per_s() {
  constexpr Index kIterations = Index{1} << 20;
  constexpr int kPasses = 3;
  const auto peak =
      runtime::measure_peak(parts_->runtime().pool(), runtime::Peak::Fp32, kIterations, kPasses);
  return peak ? peak->operations_per_s : 0;
}

Training::Result Training::run(train::RunObserver& observer,
                               const std::function<bool()>& is_stop_wanted,
                               const train::TrainingRun::Accept& accept) {
  return parts_->run(observer, is_stop_wanted, accept);
}

}  // namespace fathom
