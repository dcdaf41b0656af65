// A golden checkpoint in double whose parameters can be changed, and what objectives say about it.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/autograd/parameter_gradients.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/train/loop/objective.h"

namespace fathom::train {

inline std::filesystem::path golden_folder(const std::string& checkpoint) {
  return std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/golden/checkpoints" / checkpoint;
}

// Random documents in pieces; every seventh target does not count and is not known.
inline data::Batch random_batch(const std::vector<Index>& piece_tokens,
                                Index vocab_size,
                                unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(vocab_size) - 1);
  data::Batch batch;
  batch.piece_tokens = piece_tokens;
  for (const Index count : piece_tokens) {
    std::vector<std::int32_t> document(to_size(count) + 1);
    std::generate(document.begin(), document.end(), [&] { return any(engine); });
    for (std::size_t row = 0; row + 1 < document.size(); ++row) {
      const bool counts = row % 7 != 5;
      batch.tokens.push_back(document[row]);
      batch.targets.push_back(counts ? document[row + 1] : -100);
      batch.loss_weights.push_back(counts ? 0.25F * static_cast<float>(1 + row % 5) : 0);
    }
  }
  return batch;
}

inline double weight_of(const data::Batch& batch) {
  double sum = 0;
  for (const float weight : batch.loss_weights) {
    sum += static_cast<double>(weight);
  }
  return sum;
}

class GradedModel {
 public:
  explicit GradedModel(const std::string& checkpoint,
                       const std::string& backend = "reference:f64",
                       ops::Numerics numerics = ops::Numerics::High)
      : runtime_({.num_threads = 1, .backend = backend, .numerics = numerics}),
        opened_(open_model(golden_folder(checkpoint))) {
    opened_.store->make_trainable();
    lm_ = build_model(opened_);
    specs_ = config::weight_table(lm_->config());
    std::erase_if(specs_, [&](const config::WeightSpec& spec) {
      return !spec.is_trainable || !opened_.store->has(spec.key);
    });
  }

  ops::Context& context() { return runtime_.context(); }
  const layers::CausalLm& lm() const { return *lm_; }
  weights::Store& store() { return *opened_.store; }
  const std::vector<config::WeightSpec>& specs() const { return specs_; }

  // Zeros, for every parameter.
  autograd::ParameterGradients make_gradients() {
    autograd::ParameterGradients gradients(context().real);
    for (const config::WeightSpec& spec : specs_) {
      for_each_expert(spec, [&](Index expert) {
        const numeric::WeightView& view = opened_.store->matrix(spec.key, expert).view;
        gradients.add(view.data, view.rows, view.columns);
      });
    }
    return gradients;
  }
  // Of one matrix; empty where there is none.
  std::vector<double> gradient(const autograd::ParameterGradients& gradients,
                               const config::WeightKey& key,
                               Index expert = 0) {
    const tensor::Tensor found = gradients.find(store().trainable(key, expert).data());
    std::vector<double> numbers;
    for (Index i = 0; !found.is_empty() && i < found.num_elements(); ++i) {
      numbers.push_back(found.dtype() == tensor::DType::F64
                            ? found.data<double>()[i]
                            : static_cast<double>(found.data<float>()[i]));
    }
    return numbers;
  }

  template <typename Use>
  static void for_each_expert(const config::WeightSpec& spec, const Use& use) {
    for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
      use(expert);
    }
  }

 private:
  runtime::Runtime runtime_;
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  std::vector<config::WeightSpec> specs_;
};

// Moves some numbers of all given parameters at once, each the way its gradient points, forth and
// back, and compares what `loss` changes by with what the gradients say. Steps are exact in fp32
// and so small that no choice of experts or blocks changes.
class LossSlope {
 public:
  LossSlope(GradedModel& model, const autograd::ParameterGradients& gradients)
      : model_(model), gradients_(gradients) {}

  void move(const config::WeightSpec& spec) {
    GradedModel::for_each_expert(spec, [&](Index expert) {
      const std::span<float> numbers = model_.store().trainable(spec.key, expert);
      const std::vector<double> gradient = model_.gradient(gradients_, spec.key, expert);
      std::set<std::size_t> places;
      while (!gradient.empty() && places.size() < std::min<std::size_t>(numbers.size(), 8)) {
        places.insert(engine_() % numbers.size());
      }
      for (const std::size_t place : places) {
        moved_.push_back({&numbers[place], numbers[place], gradient[place]});
      }
    });
  }

  ::testing::AssertionResult meets(const std::function<double()>& loss) {
    constexpr double kStep = 0x1p-18;
    constexpr double kRounding = 4e-14;  // of a sum of losses of some hundred, twice
    double expected = 0;
    const auto loss_at = [&](double steps) {
      for (const Moved& each : moved_) {
        const double step = std::copysign(steps * kStep, steps * each.gradient);
        *each.number = static_cast<float>(static_cast<double>(each.before) + step);
        expected += (steps > 0 ? 1 : -1) * each.gradient * static_cast<double>(*each.number);
      }
      return loss();
    };
    const double after = loss_at(1);
    const double found = after - loss_at(-1);
    for (const Moved& each : moved_) {
      *each.number = each.before;
    }
    moved_.clear();
    // Written as "not within", because every comparison with a NaN is false.
    if (expected == 0 ||
        !(std::abs(found - expected) <= 1e-6 * std::abs(expected) + kRounding * after)) {
      return ::testing::AssertionFailure()
             << "the loss changes by " << found << ", expected " << expected << ", relative error "
             << std::abs(found / expected - 1);
    }
    return ::testing::AssertionSuccess();
  }

 private:
  struct Moved {
    float* number;
    float before;
    double gradient;
  };
  GradedModel& model_;
  const autograd::ParameterGradients& gradients_;
  std::mt19937 engine_{11};
  std::vector<Moved> moved_;
};

}  // namespace fathom::train
