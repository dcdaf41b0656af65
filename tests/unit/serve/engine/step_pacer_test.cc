#include "fathom/serve/engine/step_pacer.h"

#include <random>

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

// A machine: what a step takes.
struct Machine {
  double base_s = 0.03;
  double row_s = 0.0002;
  double prompt_token_s = 0.001;
  double noise = 0;

  double step_s(Index num_decoded, Index num_prompt, std::mt19937& random) const {
    const double factor = 1 + noise * std::uniform_real_distribution<double>(-1, 1)(random);
    return factor * ((num_decoded > 0 ? base_s : 0) + row_s * static_cast<double>(num_decoded) +
                     prompt_token_s * static_cast<double>(num_prompt));
  }
};

// Alternates steps with and without prompts for a while.
void learn(StepPacer& pacer, const Machine& machine, Index num_decoded, std::mt19937& random) {
  for (int step = 0; step < 100; ++step) {
    pacer.record(num_decoded, 0, machine.step_s(num_decoded, 0, random));
    const Index prompt = pacer.prompt_tokens(num_decoded);
    pacer.record(num_decoded, prompt, machine.step_s(num_decoded, prompt, random));
  }
}

TEST(StepPacer, AStepWithAPromptLastsAtMostItsStretch) {
  std::mt19937 random(1);
  const PaceOptions options = {.prompt_stretch = 1.6, .short_step_s = 0.001};
  for (const double noise : {0.0, 0.1}) {
    StepPacer pacer(options);
    const Machine machine = {.noise = noise};
    learn(pacer, machine, 32, random);
    const Machine quiet;
    const double stretch =
        quiet.step_s(32, pacer.prompt_tokens(32), random) / quiet.step_s(32, 0, random);
    EXPECT_LT(stretch, 1.6 * (1 + noise) + 0.01);
    EXPECT_GT(stretch, 1.6 * (1 - noise) - 0.1);
  }
}

TEST(StepPacer, ShortStepsAreFilledUpToWhatNobodyNotices) {
  std::mt19937 random(1);
  StepPacer pacer({.prompt_stretch = 1.6, .short_step_s = 0.05});
  const Machine machine = {.base_s = 0.005};
  learn(pacer, machine, 1, random);
  EXPECT_NEAR(machine.step_s(1, pacer.prompt_tokens(1), random), 0.05, 0.003);
}

TEST(StepPacer, WithoutAnythingToDecodeAStepMayBeLonger) {
  std::mt19937 random(1);
  StepPacer pacer({.prompt_step_s = 0.5});
  const Machine machine;
  for (int step = 0; step < 50; ++step) {
    const Index prompt = pacer.prompt_tokens(0);
    pacer.record(0, prompt, machine.step_s(0, prompt, random));
  }
  EXPECT_NEAR(static_cast<double>(pacer.prompt_tokens(0)), 500, 5);
}

TEST(StepPacer, OneSlowStepChangesLittle) {
  std::mt19937 random(1);
  StepPacer pacer({});
  learn(pacer, Machine{}, 8, random);
  const Index before = pacer.prompt_tokens(8);
  pacer.record(8, before, 10);
  EXPECT_GT(pacer.prompt_tokens(8), before * 3 / 4);
}

TEST(StepPacer, CountsThatWereNotSeenAreJudgedByTheNearest) {
  std::mt19937 random(1);
  StepPacer pacer({.short_step_s = 0.001});
  learn(pacer, Machine{}, 8, random);
  EXPECT_EQ(pacer.prompt_tokens(9), pacer.prompt_tokens(8));
  EXPECT_EQ(pacer.prompt_tokens(3), pacer.prompt_tokens(8));
}

TEST(StepPacer, GivesAFewTokensInAnyCaseAndAModestNumberAtFirst) {
  StepPacer pacer({.first_prompt_tokens = 24});
  EXPECT_EQ(pacer.prompt_tokens(0), 24);
  EXPECT_EQ(pacer.prompt_tokens(5), 24);
  pacer.record(5, 0, 0.0001);
  pacer.record(5, 1, 100);
  EXPECT_EQ(pacer.prompt_tokens(5), PaceOptions{}.least_prompt_tokens);
}

}  // namespace
}  // namespace fathom::engine
