// A mean over parts of a sample that do not weigh the same, and what it may be off by.
#pragma once

#include <optional>
#include <vector>

namespace fathom {

// sum(numerators) / sum(denominators) over samples: losses and targets of batches, bits and bytes
// of pieces of a text. Samples are drawn, not what is in them, so the error comes from what each
// has beyond its share: that of a ratio estimator (Cochran, Sampling Techniques, 6.4).
class RatioOfSums {
 public:
  void add(double numerator, double denominator);
  double denominator() const { return denominator_; }
  double ratio() const { return numerator_ / denominator_; }  // NaN of nothing
  // Nothing for fewer than two samples: one does not say how others would differ.
  std::optional<double> standard_error() const;

 private:
  struct Sample {
    double numerator;
    double denominator;
  };
  std::vector<Sample> samples_;
  double numerator_ = 0;
  double denominator_ = 0;
};

}  // namespace fathom
