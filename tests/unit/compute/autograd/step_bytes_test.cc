#include "fathom/compute/autograd/step_bytes.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::autograd {
namespace {

TEST(StepBytes, EveryByteIsCopiedOrZeroedAndNoOther) {
  platform::ThreadPool pool({.num_threads = 3});
  for (const Index count : {Index{0}, Index{1}, Index{1} << 17, (Index{3} << 17) + 5}) {
    std::vector<std::byte> from(to_size(count));
    for (Index i = 0; i < count; ++i) {
      from[to_size(i)] = static_cast<std::byte>(i % 251 + 1);
    }
    std::vector<std::byte> to(to_size(count + 2), std::byte{7});
    copy_bytes(pool, from.data(), count, to.data() + 1);
    EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin() + 1));
    EXPECT_EQ(to.front(), std::byte{7});
    EXPECT_EQ(to.back(), std::byte{7});
    zero_bytes(pool, count, to.data() + 1);
    EXPECT_EQ(std::count(to.begin(), to.end(), std::byte{0}), count);
    EXPECT_EQ(to.front(), std::byte{7});
    EXPECT_EQ(to.back(), std::byte{7});
  }
}

}  // namespace
}  // namespace fathom::autograd
