#include "fathom/train/loop/run_state.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::train {
namespace {

RunState some_state() {
  RunState state;
  state.trainer = {.step = 12,
                   .tokens = 1'000'000'000'000,
                   .refused_steps = 2,
                   .refused_in_a_row = 1,
                   .history = {{0.1 + 0.2, 1e-300}, {3, 4}}};
  state.optimizer_steps = 12;
  state.metrics_bytes = 345;
  state.seconds = 1.0 / 3;
  state.last_loss = 2.5;
  state.rollbacks = 3;
  state.rollbacks_in_a_row = 1;
  state.furthest_step = 20;
  state.best = RunState::Best{.loss = 2.25, .step = 10};
  state.last_validation = 2.375;
  state.validations_since_best = 4;
  return state;
}

TEST(RunState, EveryMemberComesBack) {
  EXPECT_EQ(parse_run_state(print_run_state(some_state()), "c"), some_state());
  EXPECT_EQ(parse_run_state(print_run_state({}), "c"), RunState());
}

TEST(RunState, WhatIsMissingOrOfAnotherTypeIsNamed) {
  const auto refused = [](const std::string& from, const std::string& to, const char* part) {
    std::string text = print_run_state(some_state());
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return testing::fails_with(ErrorCode::InvalidCheckpoint, part,
                               [&] { parse_run_state(text, "c"); });
  };
  EXPECT_TRUE(refused("\"tokens\"", "\"tocens\"", "c: run: no tokens"));
  EXPECT_TRUE(refused(":12,", ":-12,", "c: run: step: expected a count"));
  EXPECT_TRUE(refused(":12,", ":1.5,", "c: run: step: expected a count"));
  EXPECT_TRUE(refused("[3.0,4.0]", "[3.0]", "norms: expected as many as losses"));
  EXPECT_TRUE(refused("[3.0,4.0]", "[3.0,\"a\"]", "norms: expected a list of numbers"));
  EXPECT_TRUE(refused("[3.0,4.0]", "7", "norms: expected a list of numbers"));
  EXPECT_TRUE(refused("{\"loss\":2.25", "{\"los\":2.25", "no loss"));
  EXPECT_TRUE(refused("{\"step\"", "\"step\"", "expected a JSON object"));
}

}  // namespace
}  // namespace fathom::train
