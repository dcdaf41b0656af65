// A problem that is trained in microseconds, for tests of the loop: bring x to the data's numbers.
//
// Loss of a batch: weighted mean over its tokens of (x[token % 3] - token)^2 / 2, so gradients are
// exact, and any token can be made to have a loss that is not a number.
#pragma once

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/train/loop/trainer.h"

namespace fathom::train::testing {

inline constexpr Index kNumbers = 3;

// Where files are synced at once: runs write many.
inline std::filesystem::path fast_folder() {
  const std::filesystem::path memory = "/dev/shm";
  return std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
}

// Tokens 0, 1, 2 ... modulo `period`, four to a batch.
class CountingSource final : public data::BatchSource {
 public:
  explicit CountingSource(std::int32_t period = 7) : period_(period) {}

  data::Batch next() override {
    data::Batch batch;
    for (int row = 0; row < 4; ++row) {
      const Index place = num_read_ * 4 + row;
      batch.tokens.push_back(static_cast<std::int32_t>(place % period_));
      batch.targets.push_back(batch.tokens.back());
      batch.loss_weights.push_back(row == 3 ? 0.5F : 1.0F);
    }
    batch.piece_tokens = {4};
    if (num_read_ == fail_at) {
      fail(ErrorCode::InvalidArgument, "shard 3: record 5: checksum");
    }
    if (is_bad(num_read_)) {
      batch.tokens.front() = -1;
    }
    ++num_read_;
    return batch;
  }
  std::string state() const override { return std::to_string(num_read_); }
  void restore(const std::string& state) override { num_read_ = std::stoll(state); }
  Index num_read() const { return num_read_; }

  // Batches [first, last) hold token -1, of which FakeObjective makes `bad_loss`.
  void set_bad(Index first, Index last) {
    first_bad_ = first;
    last_bad_ = last;
  }
  Index fail_at = -1;

 private:
  bool is_bad(Index batch) const { return batch >= first_bad_ && batch < last_bad_; }

  std::int32_t period_;
  Index num_read_ = 0;
  Index first_bad_ = 0;
  Index last_bad_ = 0;
};

class FakeModel final : public TrainedModel {
 public:
  FakeModel() : gradients_(tensor::DType::F32) { gradients_.add(values.data(), 1, kNumbers); }
  autograd::ParameterGradients& gradients() override { return gradients_; }
  std::vector<std::span<const float>> gradient_values() override {
    const tensor::Tensor found = gradients_.find(values.data());
    if (found.is_empty()) {
      return {{}};
    }
    return {{found.data<float>(), to_size(kNumbers)}};
  }
  void follow_update(const LossSums& sums) override { bias[0] += static_cast<float>(sums.weight); }
  void refresh() override { ++num_refreshes; }
  std::vector<optim::StateTensor> state() override { return {{"bias", 1, 1, bias}}; }

  std::vector<float> values = {5.0F, -5.0F, 0.0F};
  std::vector<float> bias = {0.0F};
  int num_refreshes = 0;

 private:
  autograd::ParameterGradients gradients_;
};

class FakeObjective final : public Objective {
 public:
  explicit FakeObjective(FakeModel& model) : model_(model) {}

  LossSums accumulate(ops::Context&,
                      const data::Batch& batch,
                      double total_weight,
                      autograd::ParameterGradients& gradients) override {
    LossSums sums = evaluate_batch(batch);
    float* gradient = gradients.at(model_.values.data()).data<float>();
    for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
      const std::size_t at = place_of(batch.tokens[row]);
      const double error = static_cast<double>(model_.values[at]) - batch.targets[row];
      gradient[at] +=
          static_cast<float>(error * static_cast<double>(batch.loss_weights[row]) / total_weight);
    }
    return sums;
  }
  LossSums evaluate(ops::Context&, const data::Batch& batch) override {
    return evaluate_batch(batch);
  }
  double bad_loss = std::numeric_limits<double>::quiet_NaN();

 private:
  static std::size_t place_of(std::int32_t token) {
    return static_cast<std::size_t>(std::max(token, 0)) % to_size(kNumbers);
  }
  LossSums evaluate_batch(const data::Batch& batch) const {
    LossSums sums;
    for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
      const auto weight = static_cast<double>(batch.loss_weights[row]);
      const double error =
          static_cast<double>(model_.values[place_of(batch.tokens[row])]) - batch.targets[row];
      sums.loss += batch.tokens[row] < 0 ? bad_loss : weight * error * error / 2;
      sums.weight += weight;
    }
    sums.expert_tokens = {{1, 3}};
    return sums;
  }
  FakeModel& model_;
};

// Everything that a Trainer needs, in one place.
struct FakeTraining {
  explicit FakeTraining(double rate = 0.05)
      : runtime({.num_threads = 1, .backend = "reference"}),
        objective(model),
        optimizer(optim::make_optimizer({{.name = "x",
                                          .rows = 1,
                                          .columns = kNumbers,
                                          .values = model.values,
                                          .method = optim::Method::AdamW,
                                          .decays = true}},
                                        {},
                                        runtime.pool())),
        learning_rate(rate) {}

  TrainerParts parts() {
    return {.context = runtime.context(),
            .objective = objective,
            .source = source,
            .optimizer = *optimizer,
            .model = model,
            .learning_rate = [this](Index step) {
              return learning_rate / (1 + 0.01 * static_cast<double>(step));
            }};
  }

  runtime::Runtime runtime;
  FakeModel model;
  FakeObjective objective;
  CountingSource source;
  std::unique_ptr<optim::Optimizer> optimizer;
  double learning_rate;
};

}  // namespace fathom::train::testing
