// The contract of ops/round_trip.h. Codes are discrete: every backend gives the same bits.
#include "fathom/compute/ops/round_trip.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

constexpr ops::RoundTripFormat kEveryFormat[] = {
    ops::RoundTripFormat::E4m3, ops::RoundTripFormat::E2m1, ops::RoundTripFormat::Bf16};

struct RoundTripProblem {
  Index rows;
  Index columns;
  Index num_columns;
  Index group;
  ops::RoundTripFormat format;
  std::vector<float> x;
  bool is_in_place = true;
  Rounding rounding = Rounding::None;

  RoundTripProblem row(Index idx) const {
    RoundTripProblem one = *this;
    one.rows = 1;
    one.x = rows_of(x, columns, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> from(rows, columns, 3, x);
    Grid<Real> to(rows, columns, 5, is_in_place ? x : std::vector<float>(x.size(), 7));
    kernels.round_trip.run({.x = is_in_place ? to.view() : from.view(),
                            .out = to.view(),
                            .num_columns = num_columns,
                            .group = group,
                            .format = format},
                           pool);
    return result_of<Real>(rows, to);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return std::vector<double>(expected.values.size());
  }
};

// Rows from subnormal to huge, one of zeros, and numbers half way between codes.
std::vector<float> awkward_numbers(Random& random, Index rows, Index columns) {
  std::vector<float> values;
  for (Index row = 0; row < rows; ++row) {
    const auto scale = std::ldexp(1.0F, static_cast<int>(random.index(-140, 120)));
    for (Index i = 0; i < columns; ++i) {
      const auto sixteenths = static_cast<float>(random.index(-96, 96)) / 16.0F;
      const float value =
          row % 3 == 0 ? sixteenths : random.normal() * (row % 3 == 1 ? 1.0F : scale);
      values.push_back(row % 7 == 6 ? 0.0F : numeric::round_bf16(value));
    }
  }
  return values;
}

float from_bits(std::uint32_t bits) {
  float number = 0;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}

// Rows of `columns` numbers of about the same size, `first` in front: every exponent, every half
// and quarter of a step of both formats and their neighbours, both signs, infinity and NaN. `first`
// sets the scale of the smaller ones.
std::vector<float> every_kind_of_number(Index columns, float first) {
  std::vector<float> values;
  const auto append = [&](std::uint32_t bits) {
    if (to_index(values.size()) % columns == 0) {
      values.push_back(first);
    }
    values.push_back(from_bits(bits));
    values.push_back(from_bits(bits | 0x80000000U));
  };
  for (std::uint32_t exponent = 0; exponent < 256; ++exponent) {
    for (std::uint32_t fraction = 0; fraction < 64; ++fraction) {
      const std::uint32_t bits = exponent << 23 | fraction << 17;
      append(bits);
      append(bits + 1);
      append(bits + 0x1ffffU);
    }
  }
  values.resize(values.size() / to_size(columns) * to_size(columns));
  return values;
}

// Which NaN a NaN becomes is not promised.
std::vector<float> with_one_nan(Result<float> result) {
  std::replace_if(
      result.values.begin(), result.values.end(), [](float number) { return std::isnan(number); },
      std::numeric_limits<float>::quiet_NaN());
  return std::move(result.values);
}

class RoundTrip : public OnEveryBackend {};

TEST_P(RoundTrip, EveryKindOfNumberHasTheReferencesBitsWhateverTheScale) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float firsts[] = {0,   1e-30F, 1e-4F,   3,         6,
                          448, 1e30F,  FLT_MAX, kInfinity, from_bits(0xffc12345U)};
  const auto kernels = reference::kernels<float>();
  runtime::Runtime& runtime = runtime_of(GetParam(), 2);
  for (const float first : firsts) {
    for (const Index group : {33, 65, 129}) {
      const std::vector<float> x = every_kind_of_number(group, first);
      for (const auto format : kEveryFormat) {
        const RoundTripProblem problem = {
            to_index(x.size()) / group, group, group, group, format, x, false};
        EXPECT_TRUE(is_same(with_one_nan(problem.run(runtime.context().f32, runtime.pool())),
                            with_one_nan(problem.run(kernels, runtime.pool()))))
            << "groups of " << group << " beside " << first;
      }
    }
  }
}

TEST_P(RoundTrip, EveryLengthOfALastGroup) {
  Random random(23);
  for (Index count = 1; count < 70; ++count) {
    for (const auto format : kEveryFormat) {
      SCOPED_TRACE(std::to_string(count) + " columns");
      expect_contract(
          RoundTripProblem{3, 72, count, 32, format, awkward_numbers(random, 3, 72), false},
          GetParam());
    }
  }
}

TEST_P(RoundTrip, IsTheReferencesBitForBitWhateverTheGroup) {
  Random random(21);
  struct Shape {
    Index rows, columns, num_columns, group;
  };
  const Shape shapes[] = {{1, 128, 128, 128}, {9, 256, 256, 128}, {40, 512, 448, 64},
                          {25, 128, 128, 32}, {5, 192, 128, 64},  {4, 200, 200, 128},
                          {3, 40, 37, 32},    {3, 7, 5, 64},      {2, 16, 0, 64}};
  for (const Shape& shape : shapes) {
    for (const auto format : kEveryFormat) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.columns) +
                   " in groups of " + std::to_string(shape.group));
      expect_contract(RoundTripProblem{shape.rows, shape.columns, shape.num_columns, shape.group,
                                       format, awkward_numbers(random, shape.rows, shape.columns)},
                      GetParam());
    }
  }
}

FATHOM_ON_EVERY_BACKEND(RoundTrip);

TEST(RoundTripMutation, AGroupOneColumnTooLongOrTheOtherFormatIsNoticed) {
  Random random(22);
  const RoundTripProblem problem = {
      64, 128, 128, 32, ops::RoundTripFormat::E2m1, random.normals(64 * 128, Rounding::Bf16, 3)};
  expect_notices(problem, &ops::KernelTable<float>::round_trip,
                 [](const ops::RoundTripArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.group += 1;
                   reference::round_trip(wrong, pool);
                 });
  expect_notices(problem, &ops::KernelTable<float>::round_trip,
                 [](const ops::RoundTripArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.format = ops::RoundTripFormat::E4m3;
                   reference::round_trip(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
