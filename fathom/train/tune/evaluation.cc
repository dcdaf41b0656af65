#include "fathom/train/tune/evaluation.h"

#include <cmath>
#include <numeric>

#include "fathom/base/core/error.h"
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

// The error of a quotient of sums: the spread of what each example has beyond its share.
MeanLoss mean_of(const ExampleLosses& losses) {
  const double weight = std::accumulate(losses.weights.begin(), losses.weights.end(), 0.0);
  FATHOM_CHECK(weight > 0 && losses.losses.size() == losses.weights.size());
  MeanLoss result;
  result.mean = std::accumulate(losses.losses.begin(), losses.losses.end(), 0.0) / weight;
  double squares = 0;
  for (std::size_t i = 0; i < losses.losses.size(); ++i) {
    const double excess = losses.losses[i] - result.mean * losses.weights[i];
    squares += excess * excess;
  }
  const auto count = static_cast<double>(losses.losses.size());
  if (count > 1) {
    result.standard_error = std::sqrt(squares * count / (count - 1)) / weight;
  }
  return result;
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
