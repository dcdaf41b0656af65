// Decoding one token after another takes no memory from the heap once it is under way. This binary
// replaces operator new, so that every allocation of the library shows.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>

#include <gtest/gtest.h>

#include "fathom/base/core/index.h"
#include "fathom/fathom.h"

namespace {

std::atomic<std::int64_t> num_allocations{0};

void* counted(std::size_t num_bytes, std::size_t alignment) {
  ++num_allocations;
  const std::size_t rounded = (num_bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

// Where only one of a pair is inlined, g++ takes malloc() and free() for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t num_bytes) {
  return counted(num_bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
[[gnu::noinline]] void* operator new(std::size_t num_bytes, std::align_val_t alignment) {
  return counted(num_bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*num_bytes*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory,
                                       std::size_t /*num_bytes*/,
                                       std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

namespace fathom::testing {
namespace {

struct Case {
  const char* checkpoint;
  const char* numerics;
};

class SteadyDecode : public ::testing::TestWithParam<Case> {
 protected:
  SteadyDecode() {
    ModelOptions options;
    options.num_threads = 2;
    options.numerics = GetParam().numerics;
    // Rows go and pages come back while decoding.
    options.raw_tokens = 20;
    options.checkpoint_interval = 64;
    const auto folder = std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/golden/checkpoints";
    model_ = Model::open((folder / GetParam().checkpoint).string(), options);
  }
  // A session whose lists will not grow for the next 100 tokens: they double at powers of two.
  Session warm_session() {
    Session session = model_->start();
    const std::vector<TokenId> prompt(130, 7);
    session.append(prompt);
    for (TokenId token = 0; token < 10; ++token) {
      session.append(std::span(&token, 1), [](Index, Index, const float*) {});
    }
    return session;
  }

  std::shared_ptr<Model> model_;
};

TEST_P(SteadyDecode, AppendingATokenTakesNoMemoryFromTheHeap) {
  Session session = warm_session();
  double sum = 0;
  const LogitsSink sink = [&](Index, Index, const float* logits) {
    sum += static_cast<double>(logits[0]);
  };
  const auto before = num_allocations.load();
  for (TokenId token = 0; token < 100; ++token) {
    session.append(std::span(&token, 1), sink);
  }
  EXPECT_EQ(num_allocations.load() - before, 0);
  EXPECT_EQ(session.num_tokens(), 240);
  EXPECT_NE(sum, 0);
}

TEST_P(SteadyDecode, ReturnedLogitsAreTheOnlyAllocation) {
  Session session = warm_session();
  const auto before = num_allocations.load();
  for (TokenId token = 0; token < 100; ++token) {
    session.append(std::span(&token, 1));
  }
  EXPECT_EQ(num_allocations.load() - before, 100);
}

INSTANTIATE_TEST_SUITE_P(Models,
                         SteadyDecode,
                         ::testing::Values(Case{"flash-tiny", "fast"},
                                           Case{"flash-tiny", "high"},
                                           Case{"flash-tiny", "official"},
                                           Case{"pro-tiny", "fast"},
                                           Case{"llama-tiny", "high"}));

TEST(CountedNew, AnAllocationIsCounted) {
  const auto before = num_allocations.load();
  // Called by name: the compiler may leave out a pair of expressions.
  ::operator delete(::operator new(10));
  ::operator delete(::operator new(10, std::align_val_t(64)), std::align_val_t(64));
  EXPECT_EQ(num_allocations.load() - before, 2);
}

}  // namespace
}  // namespace fathom::testing
