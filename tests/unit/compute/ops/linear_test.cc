#include "fathom/compute/ops/linear.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/contract/random_weights.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Linear : public OpTest {
 protected:
  static numeric::WeightView view(const std::vector<float>& values, Index rows) {
    numeric::WeightView result;
    result.rows = rows;
    result.columns = to_index(values.size()) / rows;
    result.data = reinterpret_cast<const std::byte*>(values.data());
    result.row_stride_bytes = 4 * result.columns;
    return result;
  }
  // Blocks of 32 in Q8_0: a scale of 1/64 in F16, and a code each.
  static std::vector<std::uint8_t> q8_0(const std::vector<float>& values) {
    std::vector<std::uint8_t> blocks;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i % 32 == 0) {
        blocks.push_back(0x00);
        blocks.push_back(0x24);
      }
      const float code = std::clamp(std::round(values[i] * 32), -127.0F, 127.0F);
      blocks.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(code)));
    }
    return blocks;
  }
  const std::vector<float> weight_ = {1, 2, 3, 4, 5, 6};  // [3, 2]
};

TEST_F(Linear, MultipliesEveryRow) {
  const auto out = linear(context(), view(weight_, 3), make({2, 2}, {1, 10, 2, 0}), Products::Fp32);
  EXPECT_EQ(numbers(out), (std::vector<float>{21, 43, 65, 2, 6, 10}));
}

TEST_F(Linear, IntoWritesOnlyItsColumns) {
  const auto out = make({2, 5}, std::vector<float>(10, -1));
  linear_into(context(), view(weight_, 3), make({2, 2}, {1, 10, 2, 0}), Products::Fp32, out, 1);
  EXPECT_EQ(numbers(out), (std::vector<float>{-1, 21, 43, 65, -1, -1, 2, 6, 10, -1}));
}

TEST_F(Linear, GroupsSeeTheirOwnColumnsAndRows) {
  const std::vector<float> weight = {1, 2, 3, 4, 5, 6, 7, 8};  // two groups of [2, 2]
  const auto out =
      grouped_linear(context(), view(weight, 4), make({1, 4}, {1, 0, 0, 1}), 2, Products::Fp32);
  EXPECT_EQ(numbers(out), (std::vector<float>{1, 3, 6, 8}));
}

// One token takes another way than several, with the same bits.
TEST_F(Linear, GroupsOfOneTokenAreThoseOfThatTokenAmongOthers) {
  constexpr Index kGroups = 3;
  constexpr Index kRows = 16;
  constexpr Index kColumns = 64;
  const auto numbers_of_weight = random(kGroups * kRows * kColumns);
  const std::vector<std::uint8_t> blocks = q8_0(numbers_of_weight);
  for (const Numerics numerics : {Numerics::High, Numerics::Fast}) {
    use(numerics);
    numeric::WeightView weight = view(numbers_of_weight, kGroups * kRows);
    if (numerics == Numerics::Fast) {
      weight.format = numeric::WeightFormat::Q8_0;
      weight.data = reinterpret_cast<const std::byte*>(blocks.data());
      weight.row_stride_bytes = kColumns / 32 * 34;
    }
    const auto x = make({4, kGroups * kColumns}, random(4 * kGroups * kColumns));
    const auto together = grouped_linear(context(), weight, x, kGroups, Products::Fp32);
    for (Index token = 0; token < 4; ++token) {
      const auto alone =
          grouped_linear(context(), weight, x.slice(token, 1), kGroups, Products::Fp32);
      EXPECT_EQ(numbers(alone), numbers(together.slice(token, 1)));
    }
    EXPECT_NE(numbers(together)[0], 0);
  }
}

TEST_F(Linear, WeightsSideBySideGiveWhatEachGives) {
  constexpr Index kLeftRows = 16;
  for (const auto& [numerics, right_rows] : {std::pair{Numerics::High, 16},
                                             {Numerics::High, 48},
                                             {Numerics::High, 24},
                                             std::pair{Numerics::Fast, 16},
                                             {Numerics::Fast, 48},
                                             {Numerics::Fast, 24}}) {
    SCOPED_TRACE(right_rows);
    const auto left = random(kLeftRows * 64);
    const auto right = random(right_rows * 64);
    const std::vector<std::uint8_t> blocks[] = {q8_0(left), q8_0(right)};
    use(numerics);
    numeric::WeightView weights[] = {view(left, kLeftRows), view(right, right_rows)};
    for (std::size_t i = 0; numerics == Numerics::Fast && i < 2; ++i) {
      weights[i].format = numeric::WeightFormat::Q8_0;
      weights[i].data = reinterpret_cast<const std::byte*>(blocks[i].data());
      weights[i].row_stride_bytes = 64 / 32 * 34;
    }
    for (const Index num_tokens : {1, 3}) {
      const auto x = make({num_tokens, 64}, random(num_tokens * 64));
      const auto out = context().allocate({num_tokens, kLeftRows + right_rows});
      linear_side_by_side(context(), weights, x, Products::Fp32, out);
      for (Index token = 0; token < num_tokens; ++token) {
        auto expected = numbers(linear(context(), weights[0], x.slice(token, 1), Products::Fp32));
        const auto second =
            numbers(linear(context(), weights[1], x.slice(token, 1), Products::Fp32));
        expected.insert(expected.end(), second.begin(), second.end());
        EXPECT_EQ(numbers(out.slice(token, 1)), expected);
      }
    }
  }
}

TEST_F(Linear, SideBySideWantsOneWidth) {
  const std::vector<float> other = {1, 2, 3};
  const numeric::WeightView weights[] = {view(weight_, 3), view(other, 1)};
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "columns of a weight is 3, expected 2", [&] {
    linear_side_by_side(context(), weights, make({1, 2}, {1, 2}), Products::Fp32,
                        make({1, 4}, std::vector<float>(4)));
  }));
}

TEST_F(Linear, AlikeMeansOneShapeAndOneWayToMultiply) {
  numeric::WeightView left = view(weight_, 3);
  numeric::WeightView right = left;
  EXPECT_TRUE(are_multiplied_alike(left, right));
  right.format = numeric::WeightFormat::BF16;
  EXPECT_TRUE(are_multiplied_alike(left, right));
  right.format = numeric::WeightFormat::Q8_0;
  EXPECT_FALSE(are_multiplied_alike(left, right));
  left.format = numeric::WeightFormat::Fp8;
  EXPECT_FALSE(are_multiplied_alike(left, right));
  right.format = numeric::WeightFormat::BF16;
  EXPECT_FALSE(are_multiplied_alike(left, right));
  left.format = numeric::WeightFormat::Mxfp4;
  right.format = numeric::WeightFormat::Q8_0;
  EXPECT_TRUE(are_multiplied_alike(left, right));
  right.rows = 2;
  EXPECT_FALSE(are_multiplied_alike(left, right));
}

TEST_F(Linear, AnInputMadeOnceGivesWhatEveryProductGivesOnItsOwn) {
  const auto values = random(16 * 64);
  const std::vector<std::uint8_t> blocks = q8_0(values);
  numeric::WeightView weight = view(values, 16);
  weight.format = numeric::WeightFormat::Q8_0;
  weight.data = reinterpret_cast<const std::byte*>(blocks.data());
  weight.row_stride_bytes = 64 / 32 * 34;
  const auto x = make({5, 64}, random(5 * 64));
  for (const Numerics numerics : {Numerics::High, Numerics::Fast}) {
    use(numerics);
    const LinearInput input(context(), weight, x);
    EXPECT_EQ(input.is_rounded(), numerics == Numerics::Fast);
    EXPECT_EQ(numbers(linear(context(), weight, input, Products::Fp32)),
              numbers(linear(context(), weight, x, Products::Fp32)));
    // A weight that is not multiplied in int8 sees the numbers themselves.
    const numeric::WeightView other = view(values, 16);
    EXPECT_EQ(numbers(linear(context(), other, input, Products::Fp32)),
              numbers(linear(context(), other, x, Products::Fp32)));
  }
}

// In fast, whatever multiplies FP8 is what multiplies the BF16 numbers next to it.
TEST_F(Linear, FastRoundsWhatFp8MultipliesToBf16) {
  constexpr Index kColumns = 64;
  std::vector<std::uint8_t> codes(16 * kColumns);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(i * 37 % 250 == 127 ? 0 : i * 37 % 250);
  }
  numeric::WeightView weight;
  weight.format = numeric::WeightFormat::Fp8;
  weight.rows = 16;
  weight.columns = kColumns;
  weight.data = reinterpret_cast<const std::byte*>(codes.data());
  weight.row_stride_bytes = kColumns;
  const auto values = random(4 * kColumns);
  std::vector<float> bf16(values.size());
  std::transform(values.begin(), values.end(), bf16.begin(),
                 [](float number) { return numeric::round_bf16(number); });
  ASSERT_NE(values, bf16);
  const std::vector<std::int32_t> offsets = {0, 1, 4};
  const numeric::WeightView experts[] = {weight, weight};
  const numeric::WeightView halves[] = {weight.slice_rows(0, 8), weight.slice_rows(8, 8)};
  const auto products = [&](const std::vector<float>& numbers_of_x, Products how) {
    const auto x = make({4, kColumns}, numbers_of_x);
    const auto one = make({1, 2 * kColumns}, {numbers_of_x.begin(), numbers_of_x.begin() + 128});
    const auto side = make({1, 16}, std::vector<float>(16));
    linear_side_by_side(context(), halves, one.reshape({2, kColumns}).slice(0, 1), how, side);
    return std::vector{
        numbers(linear(context(), weight, x, how)),
        numbers(linear(context(), weight, LinearInput(context(), weight, x), how)),
        numbers(expert_linear(context(), experts, x, {}, offsets, how)),
        numbers(grouped_linear(context(), weight, one, 2, how)),
        numbers(grouped_linear(context(), weight, x.reshape({2, 2 * kColumns}), 2, how)),
        numbers(side)};
  };
  use(Numerics::High);
  const auto of_numbers = products(values, Products::Fp32);
  const auto of_bf16 = products(bf16, Products::Bf16Operands);
  use(Numerics::Fast);
  EXPECT_NE(of_numbers, of_bf16);
  EXPECT_EQ(products(values, Products::Fp32), of_bf16);
  // Other weights see the numbers themselves.
  const auto floats = random(16 * kColumns);
  const numeric::WeightView other = view(floats, 16);
  const auto x = make({4, kColumns}, values);
  EXPECT_EQ(numbers(linear(context(), other, LinearInput(context(), weight, x), Products::Fp32)),
            numbers(linear(context(), other, x, Products::Fp32)));
}

TEST_F(Linear, ExpertsMultiplyTheRowsTheirSlotsName) {
  const std::vector<float> other = {10, 0, 0, 10, 1, 1};
  const numeric::WeightView weights[] = {view(weight_, 3), view(other, 3)};
  const std::vector<std::int32_t> source = {1, 0, 1};
  const std::vector<std::int32_t> offsets = {0, 1, 3};
  const auto out = expert_linear(context(), weights, make({2, 2}, {1, 2, 3, 4}), source, offsets,
                                 Products::Fp32);
  EXPECT_EQ(numbers(out), (std::vector<float>{11, 25, 39, 10, 20, 3, 30, 40, 7}));
}

TEST_F(Linear, WidthsThatDoNotFitAreNamed) {
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "linear: columns of x is 3, expected 2", [&] {
        linear_into(context(), view(weight_, 3), make({1, 3}, {1, 2, 3}), Products::Fp32,
                    make({1, 3}, {0, 0, 0}), 0);
      }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "groups", [&] {
    grouped_linear(context(), view(weight_, 3), make({1, 4}, {1, 2, 3, 4}), 2, Products::Fp32);
  }));
}

TEST(LinearGradient, MeetsCentralDifferences) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::GradientCheck check(seed);
    const Index columns = check.between(1, 40);
    const auto x = check.add_value("x", {check.between(1, 4), columns});
    const auto& weight = check.add_parameter("weight", check.between(1, 7), columns);
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{
          linear(context, testing::GradientCheck::view(weight), check.value(x), Products::Fp32)};
    })) << "seed "
        << seed;
  }
}

TEST(LinearGradient, OfWeightsSideBySideMeetsCentralDifferences) {
  for (const Index tokens : {1, 3}) {
    testing::GradientCheck check(to_size(tokens));
    const auto x = check.add_value("x", {tokens, 5});
    const numeric::WeightView weights[] = {
        testing::GradientCheck::view(check.add_parameter("first", 4, 5)),
        testing::GradientCheck::view(check.add_parameter("second", 4, 5))};
    EXPECT_TRUE(check.check([&](Context& context) {
      const tensor::Tensor out = context.allocate({tokens, 8});
      linear_side_by_side(context, weights, check.value(x), Products::Fp32, out);
      return std::vector{out};
    })) << tokens;
  }
}

TEST(LinearGradient, OfGroupsMeetsCentralDifferences) {
  for (const Index tokens : {1, 3}) {
    testing::GradientCheck check(to_size(tokens));
    const auto x = check.add_value("x", {tokens, 3 * 4});
    const auto& weight = check.add_parameter("weight", 3 * 2, 4);
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{grouped_linear(context, testing::GradientCheck::view(weight),
                                        check.value(x), 3, Products::Fp32)};
    })) << tokens;
  }
}

TEST(LinearGradient, OfExpertsMeetsCentralDifferencesWhereOneHasNoTokenAndOneHasATokenTwice) {
  testing::GradientCheck check(4);
  const auto x = check.add_value("x", {3, 5});
  std::vector<numeric::WeightView> weights;
  for (int expert = 0; expert < 4; ++expert) {
    weights.push_back(testing::GradientCheck::view(
        check.add_parameter("expert " + std::to_string(expert), 2, 5)));
  }
  const std::vector<std::int32_t> source = {2, 0, 1, 1, 2};
  const std::vector<std::int32_t> offsets = {0, 2, 2, 4, 5};
  EXPECT_TRUE(check.check([&](Context& context) {
    return std::vector{
        expert_linear(context, weights, check.value(x), source, offsets, Products::Fp32)};
  }));
  const std::vector<std::int32_t> in_order = {0, 1, 1, 3, 3};
  EXPECT_TRUE(check.check([&](Context& context) {
    return std::vector{
        expert_linear(context, weights, check.value(x), {}, in_order, Products::Fp32)};
  }));
}

// A quantised weight: the gradient by x is that of the matrix it decodes to, and so is its own.
TEST(LinearGradient, OfAQuantisedWeightIsThatOfItsDequantisedMatrix) {
  constexpr Index kColumns = 64;
  for (const auto format : {numeric::WeightFormat::Fp4, numeric::WeightFormat::Q4_K,
                            numeric::WeightFormat::Q8_0, numeric::WeightFormat::BF16}) {
    testing::GradientCheck check(9);
    const Index columns = format == numeric::WeightFormat::Q4_K ? 256 : kColumns;
    const auto x = check.add_value("x", {2, columns});
    testing::Random random(5);
    const testing::RandomMatrix quantised(random, format, 3, columns,
                                          format == numeric::WeightFormat::Fp4
                                              ? numeric::ScaleFormat::E8M0
                                              : numeric::ScaleFormat::None);
    auto& dense = check.add_parameter("dense", 3, columns);
    for (Index row = 0; row < 3; ++row) {
      numeric::decode_row(quantised.view(), row, 0, columns, dense.numbers.data() + row * columns);
    }
    Context& context = check.context();
    autograd::ParameterGradients parameters(tensor::DType::F64);
    std::vector<std::vector<double>> results;
    for (const numeric::WeightView& weight :
         {quantised.view(), testing::GradientCheck::view(dense)}) {
      parameters.add(weight.data, 3, columns);
      const tensor::Tensor input = context.allocate({2, columns});
      std::copy(check.numbers(x).begin(), check.numbers(x).end(), input.data<double>());
      autograd::Tape tape(context, parameters);
      const tensor::Tensor out = linear(context, weight, input, Products::Fp32);
      std::fill_n(tape.of(out).data<double>(), 6, 0.5);
      tape.run_backward();
      const tensor::Tensor d_weight = parameters.at(weight.data);
      results.emplace_back(d_weight.data<double>(), d_weight.data<double>() + 3 * columns);
      results.emplace_back(tape.of(input).data<double>(),
                           tape.of(input).data<double>() + 2 * columns);
    }
    EXPECT_EQ(results[0], results[2]) << numeric::to_string(format);
    EXPECT_EQ(results[1], results[3]) << numeric::to_string(format);
    EXPECT_NE(results[1][0], 0);
  }
}

TEST(LinearGradient, ProductsOfInt8BlocksHaveNoneAndSaySo) {
  testing::GradientCheck check(0);
  Context& context = check.context();
  context.numerics = Numerics::Fast;
  testing::Random random(1);
  const testing::RandomMatrix weight(random, numeric::WeightFormat::Q8_0, 2, 32,
                                     numeric::ScaleFormat::None);
  const tensor::Tensor x = context.allocate({1, 32});
  autograd::ParameterGradients parameters(tensor::DType::F64);
  autograd::Tape tape(context, parameters);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "backward of int8_linear",
                                  [&] { linear(context, weight.view(), x, Products::Fp32); }));
}

}  // namespace
}  // namespace fathom::ops
