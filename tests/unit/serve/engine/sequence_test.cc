#include "fathom/serve/engine/sequence.h"

#include <atomic>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom::engine {
namespace {

TEST(EventGate, TellsUntilItIsClosed) {
  int num_told = 0;
  EventGate gate([&](GenerateEvent&&) { ++num_told; });
  EXPECT_TRUE(gate.tell(RequestEnd{}));
  gate.close();
  EXPECT_FALSE(gate.tell(RequestEnd{}));
  EXPECT_EQ(num_told, 1);
}

TEST(EventGate, ClosingWaitsForTheSinkThatIsRunning) {
  std::atomic<bool> is_inside = false;
  std::atomic<bool> is_done = false;
  EventGate gate([&](GenerateEvent&&) {
    is_inside = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    is_done = true;
  });
  std::thread teller([&] { gate.tell(RequestEnd{}); });
  while (!is_inside) {
    std::this_thread::yield();
  }
  gate.close();
  EXPECT_TRUE(is_done);
  teller.join();
}

TEST(EventGate, ASinkThatThrowsIsNotCalledAgain) {
  int num_told = 0;
  EventGate gate([&](GenerateEvent&&) {
    ++num_told;
    throw std::runtime_error("gone");
  });
  EXPECT_FALSE(gate.tell(RequestEnd{}));
  EXPECT_FALSE(gate.tell(RequestEnd{}));
  EXPECT_EQ(num_told, 1);
}

TEST(ActiveRequest, HasASequenceForEveryChoiceOrOneForThePromptAlone) {
  const TextServices text(tiny_text(), 512);
  const ModelLimits limits = {.vocab_size = 512, .max_context = 100};
  GenerateRequest request = request_of({1, 2, 3}, 5);
  request.num_choices = 3;
  request.deadline = std::chrono::milliseconds(20);
  const auto active = make_active(prepare(request, text, limits), {}, text, 512);
  ASSERT_EQ(active->sequences.size(), 3U);
  for (Index choice = 0; choice < 3; ++choice) {
    const Sequence& sequence = *active->sequences[to_size(choice)];
    EXPECT_EQ(sequence.choice_idx, choice);
    EXPECT_EQ(sequence.tokens, (std::vector<TokenId>{1, 2, 3}));
    EXPECT_TRUE(sequence.generation.has_value());
    EXPECT_EQ(sequence.num_cached(), 0);
  }
  EXPECT_EQ(*active->deadline - active->submit_time, std::chrono::milliseconds(20));
  request.max_tokens = 0;
  request.num_prompt_logprobs = 1;
  request.wants_progress = true;
  const auto scored = make_active(prepare(request, text, limits), {}, text, 512);
  ASSERT_EQ(scored->sequences.size(), 1U);
  EXPECT_FALSE(scored->sequences.front()->generation.has_value());
  EXPECT_TRUE(scored->sequences.front()->wants_scores());
  EXPECT_TRUE(scored->sequences.front()->wants_progress());
}

}  // namespace
}  // namespace fathom::engine
