#include "fathom/compute/autograd/parameter_gradients.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::autograd {
namespace {

TEST(ParameterGradients, StartAtZeroAndKeepWhatIsAdded) {
  const float weights[6] = {};
  ParameterGradients gradients(tensor::DType::F64);
  gradients.add(weights, 2, 3);
  EXPECT_TRUE(gradients.find(weights).is_empty());  // nothing asked for it by now
  EXPECT_EQ(gradients.at(weights).shape(), (tensor::Shape{2, 3}));
  EXPECT_EQ(gradients.at(weights).data<double>()[5], 0);
  gradients.at(weights).data<double>()[5] += 2;
  EXPECT_EQ(gradients.find(weights).data<double>()[5], 2);
}

// What is trained must not depend on the steps before: an optimiser leaves alone what has none.
TEST(ParameterGradients, ClearingForgetsWhatWasReached) {
  const float weights[2] = {};
  ParameterGradients gradients(tensor::DType::F32);
  gradients.add(weights, 1, 2);
  gradients.at(weights).data<float>()[1] = 3;
  const float* const place = gradients.find(weights).data<float>();
  gradients.clear();
  EXPECT_TRUE(gradients.find(weights).is_empty());
  EXPECT_EQ(gradients.at(weights).data<float>(), place);
  EXPECT_EQ(gradients.find(weights).data<float>()[1], 0);
  gradients.at(weights).data<float>()[0] = 2;
  EXPECT_EQ(gradients.at(weights).data<float>()[0], 2);  // not emptied by another look
}

TEST(ParameterGradients, AParameterThatWasNotDeclaredIsFrozen) {
  const float weights[2] = {};
  ParameterGradients gradients(tensor::DType::F32);
  gradients.add(weights, 1, 1);
  EXPECT_TRUE(gradients.at(weights + 1).is_empty());
  EXPECT_TRUE(gradients.find(weights + 1).is_empty());
}

TEST(ParameterGradients, MemoryOfStepsIsKeptAndComesWithoutMarks) {
  tensor::Arena arena(1 << 26);
  tensor::Arena other(1 << 26);
  const std::byte* value = arena.allocate(64);
  platform::ThreadPool pool({.num_threads = 2});
  ParameterGradients gradients(tensor::DType::F32);
  GradientMemory& memory = gradients.of_step(arena, pool);
  std::byte* place = memory.mark(value, 64);
  *place = std::byte{1};
  EXPECT_EQ(&gradients.of_step(arena, pool), &memory);
  EXPECT_FALSE(memory.is_marked(value, 64));
  EXPECT_EQ(memory.mark(value, 64), place);
  EXPECT_EQ(*place, std::byte{0});
  EXPECT_EQ(&gradients.of_step(other, pool).values(), &other);
}

TEST(ParameterGradients, DeclaringAParameterTwiceIsFineUnlessItsExtentsDiffer) {
  const float weights[6] = {};
  ParameterGradients gradients(tensor::DType::F32);
  gradients.add(weights, 2, 3);
  gradients.at(weights).data<float>()[0] = 1;
  gradients.add(weights, 2, 3);  // an embedding that is the head as well
  EXPECT_EQ(gradients.at(weights).data<float>()[0], 1);
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "columns", [&] { gradients.add(weights, 3, 2); }));
}

}  // namespace
}  // namespace fathom::autograd
