#include "fathom/train/optim/optimizer.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "fathom/base/platform/thread_pool.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/optim/random_numbers.h"

namespace fathom::optim {
namespace {

using testing::fails_with;

// A long vector and matrices of all proportions, with gradients that change from step to step.
class SomeRun {
 public:
  explicit SomeRun(int num_threads, const OptimizerOptions& options = {})
      : pool_({.num_threads = num_threads}) {
    add("norm", 1, 200'000, Method::AdamW);
    for (int i = 0; i < 7; ++i) {
      add("expert" + std::to_string(i), 40 + i, 70 - 5 * i, Method::Muon);
    }
    std::vector<Parameter> parameters;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      shapes_[i].values = values_[i];
      parameters.push_back(shapes_[i]);
    }
    optimizer_ = make_optimizer(std::move(parameters), options, pool_);
  }

  void step(unsigned seed, std::size_t left_out = std::numeric_limits<std::size_t>::max()) {
    std::vector<std::vector<float>> gradients;
    std::vector<std::span<const float>> spans;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      gradients.push_back(normal_numbers<float>(to_index(values_[i].size()),
                                                seed + 100U * static_cast<unsigned>(i)));
      spans.emplace_back(gradients.back().data(), i == left_out ? 0 : gradients.back().size());
    }
    optimizer_->step(spans, 0.5, 0.01);
  }

  Optimizer& optimizer() { return *optimizer_; }
  std::vector<std::vector<float>>& values() { return values_; }
  std::vector<std::vector<float>> state() {
    std::vector<std::vector<float>> copies;
    for (const StateTensor& tensor : optimizer_->state()) {
      copies.emplace_back(tensor.values.begin(), tensor.values.end());
    }
    return copies;
  }

 private:
  void add(const std::string& name, Index rows, Index columns, Method method) {
    values_.push_back(normal_numbers<float>(rows * columns, 9));
    shapes_.push_back(
        {.name = name, .rows = rows, .columns = columns, .values = {}, .method = method});
  }

  platform::ThreadPool pool_;
  std::vector<std::vector<float>> values_;
  std::vector<Parameter> shapes_;
  std::unique_ptr<Optimizer> optimizer_;
};

TEST(Optimizer, ResultDoesNotDependOnThreadCount) {
  SomeRun one(1);
  SomeRun three(3);
  for (unsigned step = 0; step < 3; ++step) {
    one.step(step);
    three.step(step);
  }
  EXPECT_EQ(one.values(), three.values());
  EXPECT_EQ(one.state(), three.state());
}

TEST(Optimizer, GoesOnFromItsStateToTheSameBits) {
  SomeRun whole(2);
  SomeRun second(2);
  whole.step(1);
  whole.step(2, 0);
  second.values() = whole.values();
  const std::vector<std::vector<float>> state = whole.state();
  std::vector<StateTensor> tensors = second.optimizer().state();
  ASSERT_EQ(tensors.size(), state.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(to_index(state[i].size()), tensors[i].rows * tensors[i].columns) << tensors[i].name;
    std::copy(state[i].begin(), state[i].end(), tensors[i].values.begin());
  }
  second.optimizer().set_num_steps(whole.optimizer().num_steps());
  EXPECT_EQ(second.optimizer().num_steps(), 2);
  whole.step(3);
  second.step(3);
  EXPECT_EQ(whole.values(), second.values());
}

TEST(Optimizer, NamesOfItsStateDiffer) {
  SomeRun run(1);
  std::vector<std::string> names;
  for (const StateTensor& tensor : run.optimizer().state()) {
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(names.size(), 2U + 7U + 1U);
}

TEST(Optimizer, AParameterWithoutGradientIsLeftAlone) {
  for (const std::size_t left_out : {std::size_t{0}, std::size_t{3}}) {
    SomeRun run(2);
    run.step(1);
    const std::vector<float> values = run.values()[left_out];
    const std::vector<float> other = run.values()[1];
    run.step(2, left_out);
    EXPECT_EQ(run.values()[left_out], values);
    EXPECT_NE(run.values()[1], other);
  }
}

// A step that left a parameter alone does not count for the correction of its moments.
TEST(Optimizer, CountsTheUpdatesOfEachParameter) {
  SomeRun late(1);
  SomeRun early(1);
  late.step(1, 0);
  late.step(2);
  early.step(2);
  EXPECT_EQ(late.values()[0], early.values()[0]);
}

TEST(Optimizer, DecayIsLeftOutWhereAParameterSaysSo) {
  platform::ThreadPool pool({.num_threads = 1});
  std::vector<float> kept = {2, 2};
  std::vector<float> decayed = {2, 2};
  const auto optimizer =
      make_optimizer({{.name = "a", .rows = 1, .columns = 2, .values = kept, .decays = false},
                      {.name = "b", .rows = 1, .columns = 2, .values = decayed}},
                     {.weight_decay = 0.5}, pool);
  const std::vector<float> zeros(2);
  optimizer->step(std::vector<std::span<const float>>{zeros, zeros}, 1, 0.1);
  EXPECT_EQ(kept, (std::vector<float>{2, 2}));
  EXPECT_EQ(decayed, (std::vector<float>{1.9F, 1.9F}));
}

TEST(Optimizer, OptionsOutOfRangeAreNamed) {
  const auto refuse = [](const std::string& part, const OptimizerOptions& options) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, part, [&] { SomeRun(1, options); })) << part;
  };
  refuse("adamw.beta1: 1, expected", {.adamw = {.beta1 = 1}});
  refuse("adamw.beta2: -0.1, expected", {.adamw = {.beta2 = -0.1}});
  refuse("adamw.epsilon: nan, expected", {.adamw = {.epsilon = std::nan("")}});
  refuse("muon.momentum: 1.5, expected", {.muon = {.momentum = 1.5}});
  refuse("muon.update_rms: -1, expected", {.muon = {.update_rms = -1}});
  refuse("weight_decay: -1, expected", {.weight_decay = -1});
  platform::ThreadPool pool({.num_threads = 1});
  std::vector<float> values(2);
  const Parameter parameter = {.name = "norm.weight", .rows = 1, .columns = 2, .values = values};
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "norm.weight: two parameters", [&] {
    make_optimizer({parameter, parameter}, {}, pool);
  }));
}

}  // namespace
}  // namespace fathom::optim
