#include "fathom/train/tune/example_source.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::tune {
namespace {

// Tokens first, first + 1, ...; every second one counts.
Piece piece(std::int32_t first, Index count) {
  Piece made;
  for (Index i = 0; i < count; ++i) {
    made.tokens.push_back(first + static_cast<std::int32_t>(i));
    made.weights.push_back(i % 2 == 0 ? 0.0F : 1.0F);
  }
  return made;
}

std::vector<Example> examples(Index count) {
  std::vector<Example> all;
  for (Index i = 0; i < count; ++i) {
    all.push_back({{piece(static_cast<std::int32_t>(100 * i), 3 + i % 3)}});
  }
  return all;
}

std::vector<data::Batch> take(ExampleSource& source, Index count) {
  std::vector<data::Batch> batches;
  for (Index i = 0; i < count; ++i) {
    batches.push_back(source.next());
  }
  return batches;
}

bool is_same(const data::Batch& a, const data::Batch& b) {
  return a.tokens == b.tokens && a.targets == b.targets && a.loss_weights == b.loss_weights &&
         a.piece_tokens == b.piece_tokens;
}

TEST(ExampleSource, EveryTokenButTheLastPredictsTheNext) {
  const data::Batch batch = batch_of({{piece(5, 3), piece(9, 2)}});
  EXPECT_EQ(batch.tokens, (std::vector<std::int32_t>{5, 6, 9}));
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{6, 7, 10}));
  EXPECT_EQ(batch.loss_weights, (std::vector<float>{1, 0, 1}));
  EXPECT_EQ(batch.piece_tokens, (std::vector<Index>{2, 1}));
}

TEST(ExampleSource, BatchesHoldWholeExamplesAndNoMoreThanFit) {
  ExampleSource source(examples(20), {.batch_tokens = 8, .seed = 3});
  for (const data::Batch& batch : take(source, 50)) {
    EXPECT_LE(batch.num_tokens(), 8);
    Index row = 0;
    for (const Index count : batch.piece_tokens) {
      EXPECT_EQ(count, 2 + batch.tokens[to_size(row)] / 100 % 3);
      row += count;
    }
  }
}

TEST(ExampleSource, AnEpochHoldsEveryExampleOnceInAnOrderOfItsOwn) {
  ExampleSource source(examples(20), {.batch_tokens = 0, .seed = 3});
  std::vector<std::vector<std::int32_t>> orders;
  for (int epoch = 0; epoch < 2; ++epoch) {
    orders.emplace_back();
    for (const data::Batch& batch : take(source, 20)) {
      EXPECT_EQ(batch.piece_tokens.size(), 1U);
      orders.back().push_back(batch.tokens.front());
    }
    EXPECT_EQ(std::set(orders.back().begin(), orders.back().end()).size(), 20U);
  }
  EXPECT_NE(orders[0], orders[1]);
  ExampleSource in_order(examples(3), {.shuffles = false});
  EXPECT_EQ(in_order.next().tokens.front(), 0);
  EXPECT_EQ(in_order.next().tokens.front(), 100);
  EXPECT_EQ(in_order.batches_per_epoch(), 3);
}

TEST(ExampleSource, GoesOnFromItsState) {
  ExampleSource source(examples(17), {.batch_tokens = 9, .seed = 5});
  take(source, 11);
  const std::string state = source.state();
  const auto expected = take(source, 20);
  ExampleSource again(examples(17), {.batch_tokens = 9, .seed = 5});
  again.restore(state);
  const auto found = take(again, 20);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(is_same(found[i], expected[i])) << i;
  }
}

TEST(ExampleSource, AStateOfOtherExamplesOrSettingsIsRefused) {
  const std::string state = ExampleSource(examples(5), {.batch_tokens = 9, .seed = 5}).state();
  for (ExampleSource other : {ExampleSource(examples(6), {.batch_tokens = 9, .seed = 5}),
                              ExampleSource(examples(5), {.batch_tokens = 8, .seed = 5}),
                              ExampleSource(examples(5), {.batch_tokens = 9, .seed = 6})}) {
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "it belongs to other examples",
                                    [&] { other.restore(state); }));
  }
  ExampleSource same(examples(5), {.batch_tokens = 9, .seed = 5});
  std::string beyond = state;
  beyond.replace(beyond.find("\"next\": 0"), 9, "\"next\": 5");
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::InvalidArgument, "next", [&] { same.restore(beyond); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::InvalidArgument, "found none", [] { ExampleSource({}, {}); }));
}

}  // namespace
}  // namespace fathom::tune
