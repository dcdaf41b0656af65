#include "fathom/serve/engine/step_pacer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/serve/engine/scheduler.h"

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

// ---- what those that are being answered notice of prompts that come in: the scheduler and its
// pacer on a simulated machine, whose clock is the cost of its steps

constexpr Index kNumStreams = 32;
constexpr double kDuration_s = 120;
constexpr double kStart_s = 5;  // what the pacer needs to learn is not counted
constexpr double kBetweenArrivals_s = 2;
constexpr Index kReplyOfArrival = 16;

// What a step costs, in seconds; sizes are those of SmolLM2 on two processors.
struct PacedMachine {
  std::string name;
  double base_s = 0.03;
  double row_s = 0.0004;
  double prompt_fixed_s = 0;        // of a step with any prompt tokens
  double prompt_token_s = 0.0006;   // each
  double prompt_token_place_s = 0;  // more for each token before it
  double noise = 0;                 // deviation of the logarithm
};

class PacedSteps {
 public:
  PacedSteps(const PacedMachine& machine, unsigned seed)
      : machine_(machine),
        random_(seed),
        scheduler_({.max_running = 48},
                   {.resident_bytes = [](Index n) { return n; },
                    .growth_bytes = [](Index, Index n) { return n; },
                    .fork_bytes = 0}) {
    for (Index i = 0; i < kNumStreams; ++i) {
      add("stream", 32, Index{1} << 30);
    }
  }

  void run() {
    double next_arrival_s = kBetweenArrivals_s;
    while (now_s_ < kDuration_s) {
      for (; now_s_ >= next_arrival_s; next_arrival_s += kBetweenArrivals_s) {
        add("arrival", 200 + static_cast<Index>(random_() % 800), kReplyOfArrival);
      }
      step();
    }
  }

  // Of the time between tokens of a stream.
  double gap_s(double share) const { return quantile(gaps_s_, share); }
  // Of the time to the first token of an arrival.
  double first_token_s(double share) const { return quantile(first_tokens_s_, share); }
  Index num_arrivals_served() const { return num_arrivals_served_; }

 private:
  struct State {
    bool is_stream = false;
    Index num_prompt = 0;
    Index num_cached = 0;
    Index num_tokens = 0;
    Index num_left = 0;  // tokens of the reply
    double arrival_s = 0;
    double last_token_s = -1;
  };

  static double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
  }

  void add(const std::string& user, Index num_prompt, Index num_reply) {
    const auto id = static_cast<SequenceId>(++num_added_);
    scheduler_.add({.id = id, .user = user, .num_tokens = num_prompt});
    states_[id] = {.is_stream = user == "stream",
                   .num_prompt = num_prompt,
                   .num_tokens = num_prompt,
                   .num_left = num_reply,
                   .arrival_s = now_s_};
  }

  double cost_s(const StepPlan& plan, Index num_decoded, Index num_prompt) {
    double seconds = machine_.base_s + machine_.row_s * static_cast<double>(num_decoded) +
                     machine_.prompt_token_s * static_cast<double>(num_prompt);
    seconds += num_prompt > 0 ? machine_.prompt_fixed_s : 0;
    for (const StepRow& row : plan.rows) {
      if (!row.is_decode) {
        seconds += machine_.prompt_token_place_s *
                   static_cast<double>(row.num_tokens * states_.at(row.id).num_cached);
      }
    }
    return seconds * std::exp(machine_.noise * std::normal_distribution<double>()(random_));
  }

  void step() {
    const StepPlan plan = scheduler_.plan(
        {.free_bytes = Index{1} << 40, .reusable = [](SequenceId) { return Reusable{}; }});
    scheduler_.apply(plan);
    for (const SequenceId id : plan.admitted) {
      scheduler_.update(id, 0, states_.at(id).num_tokens, false);
    }
    Index num_decoded = 0;
    Index num_prompt = 0;
    for (const StepRow& row : plan.rows) {
      num_decoded += row.is_decode ? 1 : 0;
      num_prompt += row.is_decode ? 0 : row.num_tokens;
    }
    const double seconds = cost_s(plan, num_decoded, num_prompt);
    now_s_ += seconds;
    scheduler_.record_step(num_decoded, num_prompt, seconds);
    for (const StepRow& row : plan.rows) {
      advance(row);
    }
  }

  void advance(const StepRow& row) {
    State& state = states_.at(row.id);
    state.num_cached += row.num_tokens;
    if (state.num_cached == state.num_tokens) {
      if (state.last_token_s < 0 && !state.is_stream) {
        first_tokens_s_.push_back(now_s_ - state.arrival_s);
      } else if (state.last_token_s > kStart_s && state.is_stream) {
        gaps_s_.push_back(now_s_ - state.last_token_s);
      }
      state.last_token_s = now_s_;
      ++state.num_tokens;
      --state.num_left;
    }
    if (state.num_left == 0) {
      ++num_arrivals_served_;
      scheduler_.remove(row.id);
      states_.erase(row.id);
    } else {
      scheduler_.update(row.id, state.num_cached, state.num_tokens,
                        state.num_tokens > state.num_prompt);
    }
  }

  const PacedMachine machine_;
  std::mt19937 random_;
  Scheduler scheduler_;
  std::map<SequenceId, State> states_;
  std::uint64_t num_added_ = 0;
  double now_s_ = 0;
  std::vector<double> gaps_s_;
  std::vector<double> first_tokens_s_;
  Index num_arrivals_served_ = 0;
};

class PacedStepsOf : public ::testing::TestWithParam<PacedMachine> {};

TEST_P(PacedStepsOf, TokensOfStreamsAreAtMostTwiceTheirMedianApartAndPromptsGetOn) {
  for (const unsigned seed : {1U, 2U, 3U}) {
    PacedSteps steps(GetParam(), seed);
    steps.run();
    EXPECT_LT(steps.gap_s(0.99), 2 * steps.gap_s(0.5)) << "seed " << seed;
    EXPECT_LT(steps.first_token_s(0.5), 5) << "seed " << seed;
    EXPECT_GT(steps.num_arrivals_served(), 50) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Machines,
                         PacedStepsOf,
                         ::testing::Values(PacedMachine{.name = "Quiet"},
                                           PacedMachine{.name = "Noisy", .noise = 0.1},
                                           PacedMachine{.name = "VeryNoisy", .noise = 0.2},
                                           PacedMachine{.name = "PromptsCostSomethingInAnyCase",
                                                        .prompt_fixed_s = 0.005,
                                                        .noise = 0.1},
                                           PacedMachine{.name = "LateTokensCostMore",
                                                        .prompt_token_s = 0.0005,
                                                        .prompt_token_place_s = 1e-6,
                                                        .noise = 0.1}),
                         [](const auto& machine) { return machine.param.name; });

TEST(PacedSteps, OnAQuietMachineAStepWithPromptTokensLastsAtMostItsStretch) {
  PacedSteps steps({.name = "quiet"}, 1);
  steps.run();
  EXPECT_LT(steps.gap_s(1), 1.65 * steps.gap_s(0.01));
}

}  // namespace
}  // namespace fathom::engine
