#include "fathom/study/bench/kernel_case.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"

namespace fathom::bench {
namespace {

TEST(KernelCase, ActivationsLieBetweenMinusOneAndOneAndVary) {
  runtime::Runtime runtime({.num_threads = 1});
  const tensor::Tensor values = activations(runtime.context(), {3, 50});
  std::set<float> different;
  for (Index idx = 0; idx < values.num_elements(); ++idx) {
    const float value = values.data<float>()[idx];
    EXPECT_GE(value, -1);
    EXPECT_LE(value, 1);
    different.insert(value);
  }
  EXPECT_GT(different.size(), 140U);
}

TEST(KernelCase, NumbersAreOfTheirPlacesInWhatTheContextComputesIn) {
  runtime::Runtime runtime({.num_threads = 1});
  const auto doubled = [](Index idx) { return 2.0 * static_cast<double>(idx); };
  EXPECT_EQ(numbers(runtime.context(), {2, 2}, doubled).data<float>()[3], 6);
  runtime.context().real = tensor::DType::F64;
  EXPECT_EQ(numbers(runtime.context(), {2, 2}, doubled).data<double>()[3], 6);
}

TEST(KernelCase, ShapesAreWrittenAsLists) {
  EXPECT_EQ(shape_text({512, 64}), "[512, 64]");
  EXPECT_EQ(shape_text({7}), "[7]");
}

}  // namespace
}  // namespace fathom::bench
