#include "fathom/train/data/document_order.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

namespace fathom::data {
namespace {

std::vector<std::uint32_t> first(Index count) {
  std::vector<std::uint32_t> numbers(to_size(count));
  std::iota(numbers.begin(), numbers.end(), 0U);
  return numbers;
}

std::vector<Index> listed(const DocumentOrder& order) {
  std::vector<Index> documents;
  for (Index place = 0; place < order.size(); ++place) {
    documents.push_back(order.at(place));
  }
  return documents;
}

TEST(DocumentOrder, EveryEpochHasEveryDocumentOnceInAnotherOrder) {
  const std::vector<std::uint32_t> documents = {3, 4, 9, 12, 200, 201, 7000, 7001, 7002, 9000};
  DocumentOrder order(documents, 5);
  std::vector<std::vector<Index>> orders;
  for (const Index epoch : {0, 1, 2, 3}) {
    order.set_epoch(epoch);
    std::vector<Index> found = listed(order);
    orders.push_back(found);
    std::sort(found.begin(), found.end());
    EXPECT_TRUE(std::equal(found.begin(), found.end(), documents.begin(), documents.end()));
  }
  std::sort(orders.begin(), orders.end());
  EXPECT_EQ(std::unique(orders.begin(), orders.end()), orders.end());
}

TEST(DocumentOrder, AnEpochDoesNotDependOnThoseBefore) {
  DocumentOrder straight(first(100), 5);
  DocumentOrder jumping(first(100), 5);
  straight.set_epoch(1);
  straight.set_epoch(2);
  jumping.set_epoch(7);
  jumping.set_epoch(2);
  EXPECT_EQ(listed(straight), listed(jumping));
  DocumentOrder other(first(100), 6);
  other.set_epoch(2);
  EXPECT_NE(listed(other), listed(straight));
}

// 6,000 orders of three documents: each of the six within five deviations of 1,000.
TEST(DocumentOrder, EveryOrderIsAsLikely) {
  std::map<std::vector<Index>, int> counts;
  DocumentOrder order(first(3), 1);
  for (Index epoch = 0; epoch < 6000; ++epoch) {
    order.set_epoch(epoch);
    ++counts[listed(order)];
  }
  EXPECT_EQ(counts.size(), 6U);
  for (const auto& [found, count] : counts) {
    EXPECT_NEAR(count, 1000, 145);
  }
}

}  // namespace
}  // namespace fathom::data
