// Trains a model on one sequence a step and prints {"losses": [...]}: for tests/oracle.
//
//   follow_training MODEL --tokens F.npy --length T --steps N --learning-rate X ...
//
// Step i computes tokens [i T, (i + 1) T), from the first again after the last. --double computes
// in double, masters and moments too; otherwise it is the optimiser of the library in float.
// --storage trains for that storage plan, --out writes the model. With --rates instead of a model
// it prints the learning rates of a schedule.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/npy.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/kv/whole_sequence_kv.h"
#include "fathom/train/loop/export.h"
#include "fathom/train/loop/parameters.h"
#include "fathom/train/loop/quantisation_aware.h"
#include "fathom/train/optim/adamw.h"
#include "fathom/train/optim/grad_norm.h"
#include "fathom/train/optim/optimizer.h"
#include "fathom/train/optim/schedule.h"

namespace fathom::testing {
namespace {

struct Options {
  std::string model;
  std::string tokens;
  Index length = 0;
  Index num_steps = 0;
  double learning_rate = 1e-3;
  double clip = 0;
  optim::OptimizerOptions optimizer;
  bool uses_muon = false;
  bool is_double = false;
  std::string backend = "cpu";
  int num_threads = 1;
  std::string storage;
  std::string out;
  bool rates = false;
  std::string kind = "cosine";
  std::string curve = "linear";
  optim::ScheduleOptions schedule;
};

void print(const char* name, const std::vector<double>& numbers) {
  std::printf("{\"%s\": [", name);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::printf("%s%.17g", i == 0 ? "" : ", ", numbers[i]);
  }
  std::puts("]}");
}

// Masters and moments of AdamW in double; layers get the masters as floats, and a gradient is zeros
// where an expert has no token, as ParameterList::gradients does.
class DoubleAdamW {
 public:
  explicit DoubleAdamW(const train::ParameterList& list) : list_(list) {
    for (const optim::Parameter& parameter : list.parameters()) {
      State& state = states_.emplace_back();
      state.values.assign(parameter.values.begin(), parameter.values.end());
      state.mean.resize(state.values.size());
      state.square.resize(state.values.size());
    }
  }

  void step(const autograd::ParameterGradients& gradients, const Options& options) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const train::ParameterList::Origin& origin = list_.origin(to_index(i));
      State& state = states_[i];
      const tensor::Tensor found = gradients.find(origin.numbers.data());
      std::vector<double> gradient(state.values.size());
      if (!found.is_empty()) {
        std::copy_n(found.data<double>(), found.num_elements(), gradient.begin());
      } else if (!is_reached(gradients, i)) {
        continue;
      }
      ++state.num_updates;
      optim::adamw_update<double>({.options = options.optimizer.adamw,
                                   .learning_rate = options.learning_rate,
                                   .weight_decay = options.optimizer.weight_decay,
                                   .step = state.num_updates},
                                  {.values = state.values,
                                   .gradient = gradient,
                                   .mean = state.mean,
                                   .square = state.square});
      std::transform(state.values.begin(), state.values.end(), origin.numbers.begin(),
                     [](double value) { return static_cast<float>(value); });
    }
  }

 private:
  struct State {
    std::vector<double> values;
    std::vector<double> mean;
    std::vector<double> square;
    Index num_updates = 0;
  };

  bool is_reached(const autograd::ParameterGradients& gradients, std::size_t parameter) const {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const train::ParameterList::Origin& origin = list_.origin(to_index(i));
      if (origin.key == list_.origin(to_index(parameter)).key &&
          !gradients.find(origin.numbers.data()).is_empty()) {
        return true;
      }
    }
    return false;
  }

  const train::ParameterList& list_;
  std::vector<State> states_;
};

class Training {
 public:
  explicit Training(const Options& options)
      : options_(options),
        runtime_({.num_threads = options.num_threads, .backend = options.backend}),
        opened_(trainable(options.model)),
        lm_(build_model(opened_)),
        list_(lm_->config(),
              *opened_.store,
              names_of(lm_->config().family),
              {.matrices = options.uses_muon ? optim::Method::Muon : optim::Method::AdamW}),
        gradients_(runtime_.context().real) {
    const platform::MappedFile file(options.tokens);
    const std::vector<std::int64_t> ids = formats::parse_npy_integers(file.bytes(), options.tokens);
    tokens_.assign(ids.begin(), ids.end());
    if (!options.storage.empty()) {
      plan_ = config::storage_plan_from_name(options.storage);
      quantisation_.emplace(lm_->config(), *plan_, names_of(lm_->config().family), *opened_.store,
                            list_, pool());
    }
    list_.declare(gradients_);
    if (options.is_double) {
      in_double_.emplace(list_);
    } else {
      in_float_ = optim::make_optimizer(list_.parameters(), options.optimizer, pool());
    }
  }

  std::vector<double> run() {
    std::vector<double> losses;
    for (Index step = 0; step < options_.num_steps; ++step) {
      const std::size_t length = to_size(options_.length);
      const std::size_t first = to_size(step) * length % (tokens_.size() / length * length);
      gradients_.clear();
      losses.push_back(accumulate(std::span(tokens_).subspan(first, length)));
      update();
    }
    return losses;
  }

  void write(const std::string& folder) {
    train::export_model({lm_->config(), names_of(lm_->config().family), *opened_.store},
                        plan_ ? *plan_ : config::storage_plan_from_name("f32"), folder, {}, pool());
  }

 private:
  static OpenedModel trainable(const std::string& path) {
    OpenedModel opened = open_model(path);
    opened.store->make_trainable();
    return opened;
  }
  platform::ThreadPool& pool() { return runtime_.context().pool; }

  double accumulate(std::span<const std::int32_t> tokens) {
    ops::Context& context = runtime_.context();
    const tensor::Arena::Scope scope(context.arena);
    kv::WholeSequenceKv kv(lm_->cache_layout(), context.real);
    const auto batch = layers::TokenBatch::single(context.arena, tokens, kv);
    autograd::Tape tape(context, gradients_);
    const tensor::Tensor hidden = lm_->forward(context, batch);
    const Index count = to_index(tokens.size()) - 1;
    const tensor::Tensor losses =
        lm_->token_losses(context, hidden.slice(0, count), tokens.subspan(1));
    const double loss = options_.is_double ? mean<double>(losses) : mean<float>(losses);
    const tensor::Tensor gradient = tape.of(losses);
    if (options_.is_double) {
      std::fill_n(gradient.data<double>(), count, 1.0 / static_cast<double>(count));
    } else {
      std::fill_n(gradient.data<float>(), count, 1.0F / static_cast<float>(count));
    }
    tape.run_backward();
    return loss;
  }

  template <typename Real>
  static double mean(const tensor::Tensor& losses) {
    const Index count = losses.num_elements();
    return std::accumulate(losses.data<Real>(), losses.data<Real>() + count, 0.0) /
           static_cast<double>(count);
  }

  void update() {
    if (in_double_) {
      in_double_->step(gradients_, options_);
      return;
    }
    const auto spans = list_.gradients(gradients_);
    const double norm = optim::gradient_norm(list_.parameters(), spans, pool());
    in_float_->step(spans, optim::clip_factor(norm, options_.clip), options_.learning_rate);
    if (quantisation_) {
      quantisation_->update_layers(pool());
    }
  }

  const Options& options_;
  runtime::Runtime runtime_;
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  train::ParameterList list_;
  autograd::ParameterGradients gradients_;
  std::vector<std::int32_t> tokens_;
  std::optional<config::StoragePlan> plan_;
  std::optional<train::QuantisationAware> quantisation_;
  std::optional<DoubleAdamW> in_double_;
  std::unique_ptr<optim::Optimizer> in_float_;
};

void print_rates(Options& options) {
  options.schedule.kind = optim::schedule_kind_from_name(options.kind).value();
  options.schedule.curve = optim::decay_curve_from_name(options.curve).value();
  optim::check_schedule(options.schedule);
  std::vector<double> rates;
  for (Index step = 0; step < options.schedule.num_steps; ++step) {
    rates.push_back(optim::learning_rate(options.schedule, step));
  }
  print("rates", rates);
}

void train_and_print(const Options& options) {
  if (options.length < 2 || options.is_double != (options.backend == "reference:f64")) {
    fail(ErrorCode::InvalidArgument,
         "expected --length 2 or more, and --double with reference:f64");
  }
  Training training(options);
  print("losses", training.run());
  if (!options.out.empty()) {
    training.write(options.out);
  }
}

void add_options(CLI::App& app, Options& options) {
  app.add_option("model", options.model);
  app.add_option("--tokens", options.tokens);
  app.add_option("--length", options.length);
  app.add_option("--steps", options.num_steps);
  app.add_option("--learning-rate", options.learning_rate);
  app.add_option("--weight-decay", options.optimizer.weight_decay);
  app.add_option("--epsilon", options.optimizer.adamw.epsilon);
  app.add_option("--clip", options.clip);
  app.add_flag("--muon", options.uses_muon);
  app.add_flag("--double", options.is_double);
  app.add_option("--backend", options.backend);
  app.add_option("--threads", options.num_threads);
  app.add_option("--storage", options.storage);
  app.add_option("--out", options.out);
  app.add_flag("--rates", options.rates);
  app.add_option("--kind", options.kind);
  app.add_option("--curve", options.curve);
  app.add_option("--peak", options.schedule.peak);
  app.add_option("--end", options.schedule.end);
  app.add_option("--warmup", options.schedule.warmup_steps);
  app.add_option("--decay", options.schedule.decay_steps);
}

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  fathom::testing::Options options;
  CLI::App app("Trains a model a few steps.");
  fathom::testing::add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.rates) {
      options.schedule.num_steps = options.num_steps;
      fathom::testing::print_rates(options);
    } else {
      fathom::testing::train_and_print(options);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "follow_training: %s\n", error.what());
    return 1;
  }
}
