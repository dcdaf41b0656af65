// Comparing numbers so that NaN never matches.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::testing {

// Every |found - expected| <= limit.
template <typename A, typename B>
::testing::AssertionResult all_within(const std::vector<A>& found,
                                      const std::vector<B>& expected,
                                      double limit) {
  if (found.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << found.size() << " numbers, expected " << expected.size();
  }
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    // Written as "not within", because every comparison with a NaN is false.
    if (!(error <= limit)) {
      return ::testing::AssertionFailure() << "number " << i << " is " << found[i] << ", expected "
                                           << expected[i] << " within " << limit;
    }
    worst = std::max(worst, error);
  }
  return ::testing::AssertionSuccess() << "largest error " << worst;
}

// Root mean square of the difference relative to that of the expected numbers.
template <typename A, typename B>
double relative_rms(const std::vector<A>& found, const std::vector<B>& expected) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = static_cast<double>(found.at(i)) - static_cast<double>(expected[i]);
    difference += error * error;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / norm);
}

// Mean over rows of KL(softmax(expected) || softmax(found)), in double.
template <typename A, typename B>
double mean_kl(const std::vector<A>& found, const std::vector<B>& expected, std::size_t columns) {
  const auto log_sum = [columns](const auto& values, std::size_t first) {
    double largest = -INFINITY;
    for (std::size_t i = 0; i < columns; ++i) {
      largest = std::max(largest, static_cast<double>(values[first + i]));
    }
    double sum = 0;
    for (std::size_t i = 0; i < columns; ++i) {
      sum += std::exp(static_cast<double>(values[first + i]) - largest);
    }
    return largest + std::log(sum);
  };
  double total = 0;
  for (std::size_t first = 0; first < expected.size(); first += columns) {
    const double found_sum = log_sum(found, first);
    const double expected_sum = log_sum(expected, first);
    for (std::size_t i = first; i < first + columns; ++i) {
      const double log_p = static_cast<double>(expected[i]) - expected_sum;
      total += std::exp(log_p) * (log_p - (static_cast<double>(found.at(i)) - found_sum));
    }
  }
  return total / static_cast<double>(expected.size() / columns);
}

// Share of rows whose largest number is at the same place.
template <typename A, typename B>
double argmax_agreement(const std::vector<A>& found,
                        const std::vector<B>& expected,
                        std::size_t columns) {
  std::size_t same = 0;
  const std::size_t rows = expected.size() / columns;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto best = [&](const auto& values) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * columns);
      return std::max_element(begin, begin + static_cast<std::ptrdiff_t>(columns)) - begin;
    };
    same += best(found) == best(expected) ? 1U : 0U;
  }
  return static_cast<double>(same) / static_cast<double>(rows);
}

}  // namespace fathom::testing
