#include "fathom/train/tune/evaluation.h"

#include "fathom/base/core/error.h"
#include "fathom/base/core/ratio_of_sums.h"
#include "fathom/train/tune/example_source.h"

namespace fathom::tune {

ExampleLosses losses_of(const std::vector<Example>& examples,
                        train::Objective& objective,
                        ops::Context& context) {
  ExampleLosses result;
  for (const Example& example : examples) {
    const train::LossSums sums = objective.evaluate(context, batch_of(example));
    result.losses.push_back(sums.loss);
    result.weights.push_back(sums.weight);
  }
  return result;
}

MeanLoss mean_of(const ExampleLosses& losses) {
  FATHOM_CHECK(losses.losses.size() == losses.weights.size());
  RatioOfSums mean;
  for (std::size_t i = 0; i < losses.losses.size(); ++i) {
    mean.add(losses.losses[i], losses.weights[i]);
  }
  FATHOM_CHECK(mean.denominator() > 0);
  return {.mean = mean.ratio(), .standard_error = mean.standard_error()};
}

MeanLoss difference_of(const ExampleLosses& before, const ExampleLosses& after) {
  FATHOM_CHECK(before.weights == after.weights);
  ExampleLosses difference{.losses = {}, .weights = before.weights};
  for (std::size_t i = 0; i < before.losses.size(); ++i) {
    difference.losses.push_back(after.losses[i] - before.losses[i]);
  }
  return mean_of(difference);
}

}  // namespace fathom::tune
