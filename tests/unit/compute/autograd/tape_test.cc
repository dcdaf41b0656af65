#include "fathom/compute/autograd/tape.h"

#include <gtest/gtest.h>

#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/compute/ops/linear.h"
#include "fathom/compute/ops/rms_norm.h"
#include "fathom/compute/ops/scale.h"

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"

namespace fathom::autograd {
namespace {

using ops::Context;
using testing::GradientCheck;

// A residual step of one stream: state += W norm(state), its temporaries in a scope of their own.
void residual_step(Context& context,
                   const tensor::Tensor& state,
                   const GradientCheck::Parameter& weight,
                   const GradientCheck::Parameter& norm) {
  const tensor::Arena::Scope scope(context.arena);
  const tensor::Tensor normed = ops::rms_norm(context, state, norm.numbers, 0.01);
  const tensor::Tensor added =
      ops::linear(context, GradientCheck::view(weight), normed, ops::Products::Fp32);
  ops::add_to_streams(context, added, state.reshape({state.dim(0), 1, state.dim(1)}));
}

class TapeOfSteps : public ::testing::TestWithParam<Recomputation> {};

// The state is overwritten by every step, so this fails unless every op finds what it saw.
TEST_P(TapeOfSteps, MeetsCentralDifferencesThroughStepsThatChangeTheirStateInPlace) {
  GradientCheck check(5);
  const auto state = check.add_value("state", {2, 6});
  const auto& norm = check.add_parameter("norm", 1, 6);
  const auto& first = check.add_parameter("first", 6, 6, 0.5);
  const auto& second = check.add_parameter("second", 6, 6, 0.5);
  EXPECT_TRUE(check.check(
      [&](Context& context) {
        for (const auto* weight : {&first, &second, &first}) {  // one twice
          const auto piece = [&context, &check, state, weight, &norm] {
            residual_step(context, check.value(state), *weight, norm);
          };
          context.recorder == nullptr ? piece()
                                      : context.recorder->record_segment(check.value(state), piece);
        }
        return std::vector{check.value(state)};
      },
      GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Both,
                         TapeOfSteps,
                         ::testing::Values(Recomputation::Segments, Recomputation::Off));

// Gradients of three steps, and what the tape needed of step memory.
std::pair<std::vector<double>, Index> run_steps(Recomputation recomputation) {
  GradientCheck check(8);
  const auto& norm = check.add_parameter("norm", 1, 40);
  const auto& weight = check.add_parameter("weight", 40, 40, 0.2);
  Context& context = check.context();
  const tensor::Tensor state = context.allocate({30, 40});
  for (Index i = 0; i < state.num_elements(); ++i) {
    state.data<double>()[i] = check.normal();
  }
  ParameterGradients parameters(tensor::DType::F64);
  parameters.add(weight.numbers.data(), 40, 40);
  Tape tape(context, parameters, recomputation);
  for (int step = 0; step < 8; ++step) {
    context.recorder->record_segment(state, [&] { residual_step(context, state, weight, norm); });
  }
  const Index used = context.arena.used_bytes();
  std::fill_n(tape.of(state).data<double>(), state.num_elements(), 1.0);
  tape.run_backward();
  std::vector<double> found(tape.of(state).data<double>(),
                            tape.of(state).data<double>() + state.num_elements());
  const tensor::Tensor d_weight = parameters.at(weight.numbers.data());
  found.insert(found.end(), d_weight.data<double>(), d_weight.data<double>() + 1600);
  return {found, used};
}

TEST(Tape, RecomputationChangesNoBitAndKeepsLess) {
  const auto [kept, kept_bytes] = run_steps(Recomputation::Off);
  const auto [recomputed, recomputed_bytes] = run_steps(Recomputation::Segments);
  EXPECT_EQ(kept, recomputed);
  EXPECT_LT(2 * recomputed_bytes, kept_bytes);
}

TEST(Tape, LeavesTheContextAndTheArenaAsTheyWere) {
  GradientCheck check(1);
  Context& context = check.context();
  const tensor::Tensor x = context.allocate({3, 4});
  std::fill_n(x.data<double>(), 12, 2.0);
  const Index used = context.arena.used_bytes();
  {
    ParameterGradients parameters(tensor::DType::F64);
    Tape tape(context, parameters);
    ops::scale(context, x, 3);
    EXPECT_GT(context.arena.used_bytes(), used);
    EXPECT_EQ(x.data<double>()[0], 6);
    tape.of(x).data<double>()[0] = 1;
    tape.run_backward();
    EXPECT_EQ(tape.of(x).data<double>()[0], 3);
    EXPECT_EQ(x.data<double>()[0], 2);  // as before the op
  }
  EXPECT_EQ(context.recorder, nullptr);
  EXPECT_EQ(context.arena.used_bytes(), used);
  EXPECT_EQ(context.arena.kept_bytes(), 0);
}

TEST(Tape, AnOpThatNoGradientReachesGivesItsParametersNone) {
  GradientCheck check(1);
  Context& context = check.context();
  const auto& used = check.add_parameter("used", 2, 4);
  const auto& unused = check.add_parameter("unused", 2, 4);
  const tensor::Tensor x = context.allocate({3, 4});
  std::fill_n(x.data<double>(), 12, 2.0);
  ParameterGradients parameters(tensor::DType::F64);
  parameters.add(used.numbers.data(), 2, 4);
  parameters.add(unused.numbers.data(), 2, 4);
  Tape tape(context, parameters);
  const tensor::Tensor out =
      ops::linear(context, GradientCheck::view(used), x, ops::Products::Fp32);
  ops::linear(context, GradientCheck::view(unused), x, ops::Products::Fp32);
  tape.of(out).data<double>()[0] = 1;
  tape.run_backward();
  EXPECT_FALSE(parameters.find(used.numbers.data()).is_empty());
  EXPECT_TRUE(parameters.find(unused.numbers.data()).is_empty());
}

TEST(Tape, AnOpWithoutABackwardHalfIsNamed) {
  GradientCheck check(1);
  ParameterGradients parameters(tensor::DType::F64);
  Tape tape(check.context(), parameters);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "backward of wavelet",
                                  [&] { tape.record("wavelet", {}, {}); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "backward of wavelet",
                                  [&] { ops::refuse_recording(check.context(), "wavelet"); }));
}

TEST(Tape, RowsThatDoNotLieInStepMemoryAreRefused) {
  GradientCheck check(1);
  ParameterGradients parameters(tensor::DType::F64);
  Tape tape(check.context(), parameters);
  const std::vector<double> elsewhere(32);
  const void* page = elsewhere.data();
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "WholeSequenceKv", [&] {
    tape.of(
        tensor::PagedRows{.dtype = tensor::DType::F64, .pages = &page, .num_rows = 16, .width = 2});
  }));
}

}  // namespace
}  // namespace fathom::autograd
