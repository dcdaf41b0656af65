#include "fathom/train/tune/evaluation.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fathom::tune {
namespace {

TEST(Evaluation, MeansAreOverTargetsAndErrorsOverExamples) {
  // Two examples of one target each: mean and its usual error.
  const MeanLoss plain = mean_of({.losses = {1, 3}, .weights = {1, 1}});
  EXPECT_DOUBLE_EQ(plain.mean, 2);
  EXPECT_DOUBLE_EQ(plain.standard_error.value(), 1);  // sqrt(2) / sqrt(2)
  // An example of many targets counts for as many.
  EXPECT_DOUBLE_EQ(mean_of({.losses = {1, 30}, .weights = {1, 9}}).mean, 3.1);
  // Examples that lose alike per target have no spread.
  EXPECT_DOUBLE_EQ(mean_of({.losses = {1, 2, 7}, .weights = {1, 2, 7}}).standard_error.value(), 0);
  EXPECT_FALSE(mean_of({.losses = {5}, .weights = {2}}).standard_error.has_value());
}

TEST(Evaluation, DifferencesAreTakenExampleByExample) {
  const ExampleLosses before{.losses = {10, 2, 7}, .weights = {1, 1, 1}};
  const ExampleLosses after{.losses = {9, 1, 6}, .weights = {1, 1, 1}};
  const MeanLoss difference = difference_of(before, after);
  EXPECT_DOUBLE_EQ(difference.mean, -1);
  EXPECT_DOUBLE_EQ(difference.standard_error.value(), 0);
  EXPECT_GT(mean_of(before).standard_error.value(), 2);
}

}  // namespace
}  // namespace fathom::tune
