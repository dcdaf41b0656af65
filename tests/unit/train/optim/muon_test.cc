#include "fathom/train/optim/muon.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/unit/train/optim/random_numbers.h"

namespace fathom::optim {
namespace {

using testing::all_within;

template <typename Real>
std::vector<Real> orthogonalised(Index rows, Index columns, std::vector<Real> numbers) {
  MuonScratch<Real> scratch;
  scratch.update = std::move(numbers);
  orthogonalise(rows, columns, scratch);
  return scratch.update;
}

// left [rows, inner] times right [inner, columns].
std::vector<double> product(Index rows,
                            Index inner,
                            Index columns,
                            const std::vector<double>& left,
                            const std::vector<double>& right) {
  std::vector<double> out(to_size(rows * columns));
  for (Index row = 0; row < rows; ++row) {
    for (Index column = 0; column < columns; ++column) {
      for (Index k = 0; k < inner; ++k) {
        out[to_size(row * columns + column)] +=
            left[to_size(row * inner + k)] * right[to_size(k * columns + column)];
      }
    }
  }
  return out;
}

std::vector<double> transposed(Index rows, Index columns, const std::vector<double>& numbers) {
  std::vector<double> out(numbers.size());
  for (Index row = 0; row < rows; ++row) {
    for (Index column = 0; column < columns; ++column) {
      out[to_size(column * rows + row)] = numbers[to_size(row * columns + column)];
    }
  }
  return out;
}

// Gram-Schmidt on random rows.
std::vector<double> random_orthogonal(Index size, unsigned seed) {
  std::vector<double> rows = normal_numbers<double>(size * size, seed);
  for (Index i = 0; i < size; ++i) {
    double* row = rows.data() + i * size;
    double norm = 0;
    for (Index pass = 0; pass < 2; ++pass) {
      for (Index j = 0; j < i; ++j) {
        const double* other = rows.data() + j * size;
        double dot = 0;
        for (Index k = 0; k < size; ++k) {
          dot += row[k] * other[k];
        }
        for (Index k = 0; k < size; ++k) {
          row[k] -= dot * other[k];
        }
      }
    }
    for (Index k = 0; k < size; ++k) {
      norm += row[k] * row[k];
    }
    for (Index k = 0; k < size; ++k) {
      row[k] /= std::sqrt(norm);
    }
  }
  return rows;
}

double rms(const std::vector<double>& numbers) {
  double squares = 0;
  for (const double number : numbers) {
    squares += number * number;
  }
  return std::sqrt(squares / static_cast<double>(numbers.size()));
}

TEST(Muon, AnOrthogonalMatrixStaysItself) {
  const std::vector<double> matrix = random_orthogonal(24, 3);
  EXPECT_TRUE(all_within(orthogonalised(24, 24, matrix), matrix, 0.01));
  std::vector<double> larger = matrix;
  for (double& number : larger) {
    number *= 1e6;  // only the direction counts
  }
  EXPECT_TRUE(all_within(orthogonalised(24, 24, larger), matrix, 0.01));
}

TEST(Muon, SingularValuesOfARandomMatrixBecomeOne) {
  const std::vector<double> update = orthogonalised(20, 50, normal_numbers<double>(1000, 5));
  const std::vector<double> gram = product(20, 50, 20, update, transposed(20, 50, update));
  std::vector<double> identity(400);
  for (std::size_t i = 0; i < 20; ++i) {
    identity[i * 20 + i] = 1;
  }
  EXPECT_TRUE(all_within(gram, identity, 0.02));
}

TEST(Muon, ATurnedMatrixHasATurnedUpdate) {
  const std::vector<double> matrix = normal_numbers<double>(12 * 31, 7);
  const std::vector<double> left = random_orthogonal(12, 8);
  const std::vector<double> right = random_orthogonal(31, 9);
  const auto turn = [&](const std::vector<double>& numbers) {
    return product(12, 31, 31, product(12, 12, 31, left, numbers), right);
  };
  EXPECT_TRUE(
      all_within(orthogonalised(12, 31, turn(matrix)), turn(orthogonalised(12, 31, matrix)), 1e-9));
}

TEST(Muon, ATransposedMatrixHasATransposedUpdate) {
  const std::vector<double> matrix = normal_numbers<double>(12 * 31, 7);
  EXPECT_TRUE(all_within(orthogonalised(31, 12, transposed(12, 31, matrix)),
                         transposed(12, 31, orthogonalised(12, 31, matrix)), 1e-12));
}

TEST(Muon, FloatAndDoubleAgree) {
  const std::vector<float> matrix = normal_numbers<float>(96 * 160, 4);
  const std::vector<double> wide(matrix.begin(), matrix.end());
  EXPECT_TRUE(all_within(orthogonalised(96, 160, matrix), orthogonalised(96, 160, wide), 2e-5));
}

// A matrix of Muon with all it is updated from.
struct Matrix {
  std::vector<double> values;
  std::vector<double> gradient;
  std::vector<double> momentum;

  void update(Index rows, Index columns, const MuonStep& step) {
    MuonScratch<double> scratch;
    muon_update<double>(step,
                        {.rows = rows,
                         .columns = columns,
                         .values = values,
                         .gradient = gradient,
                         .momentum = momentum},
                        scratch);
  }
};

TEST(Muon, UpdateHasTheRootMeanSquareThatAdamHas) {
  for (const auto& [rows, columns] : {std::pair<Index, Index>{30, 70}, {70, 30}, {40, 40}}) {
    Matrix matrix{std::vector<double>(to_size(rows * columns)),
                  normal_numbers<double>(rows * columns, 2),
                  std::vector<double>(to_size(rows * columns))};
    matrix.update(rows, columns, {.learning_rate = 0.5});
    EXPECT_NEAR(rms(matrix.values), 0.5 * 0.18, 0.5 * 0.18 * 0.01) << rows << " x " << columns;
  }
}

TEST(Muon, MomentumLooksAheadByNesterov) {
  const std::vector<double> gradient = normal_numbers<double>(15, 1);
  const std::vector<double> momentum = normal_numbers<double>(15, 2);
  Matrix matrix{std::vector<double>(15), gradient, momentum};
  matrix.update(
      3, 5,
      {.options = {.momentum = 0.9, .update_rms = 1}, .learning_rate = 1, .gradient_scale = 2});
  std::vector<double> ahead(15);
  std::vector<double> kept(15);
  for (std::size_t i = 0; i < 15; ++i) {
    kept[i] = 0.9 * momentum[i] + 2 * gradient[i];
    ahead[i] = 0.9 * kept[i] + 2 * gradient[i];
  }
  EXPECT_TRUE(all_within(matrix.momentum, kept, 1e-15));
  std::vector<double> expected = orthogonalised(3, 5, ahead);
  for (double& number : expected) {
    number *= -std::sqrt(5.0);
  }
  EXPECT_TRUE(all_within(matrix.values, expected, 1e-12));
}

TEST(Muon, AZeroGradientOnlyDecays) {
  Matrix matrix{normal_numbers<double>(12, 3), std::vector<double>(12), std::vector<double>(12)};
  std::vector<double> expected = matrix.values;
  for (double& number : expected) {
    number *= 1 - 0.01 * 0.1;
  }
  matrix.update(3, 4, {.learning_rate = 0.01, .weight_decay = 0.1});
  EXPECT_TRUE(all_within(matrix.values, expected, 1e-15));
  EXPECT_EQ(matrix.momentum, std::vector<double>(12));
}

}  // namespace
}  // namespace fathom::optim
