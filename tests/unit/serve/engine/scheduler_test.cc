// The scheduler alone, driven by a model of an engine that only counts.
#include "fathom/serve/engine/scheduler.h"

#include <algorithm>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::engine {
namespace {

constexpr Index kPage = 16;

Index pages_of(Index num_tokens) {
  return ceil_div(num_tokens, kPage) * kPage;
}

// A byte per token, in pages of 16.
CacheCost byte_per_token() {
  return {.resident_bytes = pages_of,
          .growth_bytes =
              [](Index num_tokens, Index num_new) {
                return pages_of(num_tokens + num_new) - pages_of(num_tokens);
              },
          .fork_bytes = kPage};
}

struct Load {
  Job job;
  Index num_reply = 1;
  Index arrival_step = 0;
};

// What the engine does with plans, without computing: caches are numbers.
class Simulation {
 public:
  Simulation(const SchedulerOptions& options, Index budget_bytes, unsigned seed = 1)
      : scheduler_(options, byte_per_token()),
        options_(options),
        budget_bytes_(budget_bytes),
        random_(seed) {}

  void add(const Load& load) {
    scheduler_.add(load.job);
    states_[load.job.id] = {.load = load, .num_tokens = load.job.num_tokens};
  }

  // One step; what it computed. Checks what must hold of every plan.
  StepPlan step() {
    for (;;) {
      const Capacity capacity = {.free_bytes = budget_bytes_ - used_bytes(),
                                 .can_evict = retained_bytes_ > 0,
                                 .reusable = [this](SequenceId id) { return reusable(id); }};
      StepPlan plan = scheduler_.plan(capacity);
      if (plan.bytes_short > 0 && retained_bytes_ > 0) {
        retained_bytes_ = std::max<Index>(0, retained_bytes_ - plan.bytes_short);
        continue;
      }
      scheduler_.apply(plan);
      apply(plan);
      if (!plan.rows.empty() || plan.preempted.empty()) {
        compute(plan);
        return plan;
      }
    }
  }

  bool is_done() const { return states_.empty(); }
  bool is_done(SequenceId id) const { return states_.count(id) == 0; }
  bool is_running(SequenceId id) const {
    return states_.count(id) > 0 && states_.at(id).is_running;
  }
  Index num_cached(SequenceId id) const { return states_.at(id).num_cached; }
  Index num_preemptions() const { return num_preemptions_; }
  Scheduler& scheduler() { return scheduler_; }

  std::set<SequenceId> coming;  // not to be let in: others compute what they need

 private:
  struct State {
    Load load;
    Index num_tokens = 0;
    Index num_cached = 0;
    Index num_replied = 0;
    Index num_retained = 0;
    bool is_running = false;
  };

  Index used_bytes() const {
    Index used = retained_bytes_;
    for (const auto& [id, state] : states_) {
      used += pages_of(state.num_cached);
    }
    return used;
  }

  Reusable reusable(SequenceId id) const {
    const State& state = states_.at(id);
    return {.num_tokens = std::min(state.num_retained, retained_bytes_ / kPage * kPage),
            .is_coming = coming.count(id) > 0};
  }

  void apply(const StepPlan& plan) {
    for (const SequenceId id : plan.preempted) {
      State& state = states_.at(id);
      ASSERT_TRUE(state.is_running);
      state.is_running = false;
      // Kept or lost, and kept to any point.
      state.num_retained =
          state.num_cached > 0 ? static_cast<Index>(random_() % to_size(state.num_cached)) : 0;
      retained_bytes_ += pages_of(state.num_cached);
      state.num_cached = 0;
      ++num_preemptions_;
    }
    for (const SequenceId id : plan.admitted) {
      State& state = states_.at(id);
      ASSERT_FALSE(state.is_running);
      state.is_running = true;
      state.num_cached = reusable(id).num_tokens;
      retained_bytes_ -= pages_of(state.num_cached);  // shared from here on
      scheduler_.update(id, state.num_cached, state.num_tokens, false);
    }
  }

  void compute(const StepPlan& plan) {
    Index total = 0;
    bool has_prompt = false;
    std::set<SequenceId> seen;
    for (const StepRow& row : plan.rows) {
      State& state = states_.at(row.id);
      ASSERT_TRUE(state.is_running);
      ASSERT_TRUE(seen.insert(row.id).second) << "a sequence twice in a step";
      ASSERT_GE(row.num_tokens, 1);
      ASSERT_LE(row.num_tokens, state.num_tokens - state.num_cached);
      ASSERT_FALSE(row.is_decode && has_prompt) << "prompts before decoding";
      has_prompt = has_prompt || !row.is_decode;
      total += row.num_tokens;
      state.num_cached += row.num_tokens;
    }
    ASSERT_LE(total, options_.step_tokens);
    ASSERT_LE(used_bytes(), budget_bytes_);
    Index num_running = 0;
    for (const auto& [id, state] : states_) {
      num_running += state.is_running ? 1 : 0;
    }
    ASSERT_LE(num_running, options_.max_running);
    ASSERT_EQ(num_running, scheduler_.num_running());
    for (const StepRow& row : plan.rows) {
      sample(row.id);
    }
  }

  void sample(SequenceId id) {
    State& state = states_.at(id);
    const bool is_sampled = state.num_cached == state.num_tokens;
    if (is_sampled && ++state.num_replied == state.load.num_reply) {
      scheduler_.remove(id);
      states_.erase(id);
      return;
    }
    state.num_tokens += is_sampled ? 1 : 0;
    scheduler_.update(id, state.num_cached, state.num_tokens, is_sampled);
  }

  Scheduler scheduler_;
  SchedulerOptions options_;
  Index budget_bytes_;
  Index retained_bytes_ = 0;
  Index num_preemptions_ = 0;
  std::mt19937 random_;
  std::map<SequenceId, State> states_;
};

constexpr SequenceId id_of(Index idx) {
  return static_cast<SequenceId>(idx);
}

Load load_of(Index idx, Index num_prompt, Index num_reply, const std::string& user = "u") {
  return {.job = {.id = id_of(idx), .user = user, .num_tokens = num_prompt},
          .num_reply = num_reply};
}

struct Workload {
  SchedulerOptions options;
  Index budget_bytes = 0;
  std::vector<Load> loads;
};

Workload random_workload(unsigned seed) {
  std::mt19937 random(seed);
  const auto draw = [&](Index least, Index most) {
    return least + static_cast<Index>(random() % to_size(most - least + 1));
  };
  Workload work;
  work.options.max_running = draw(1, 12);
  work.options.step_tokens = work.options.max_running + draw(0, 100);
  work.options.max_prompts_per_user = draw(1, 3);
  work.options.reply_tokens_ahead = draw(0, 64);
  // One alone fits: the longest prompt with its reply, and the pages of a step.
  work.budget_bytes = 400 + 120 + 5 * kPage + draw(0, 1500);
  const Index count = draw(1, 40);
  for (Index idx = 0; idx < count; ++idx) {
    // In statements of their own: compilers order draws in the arguments of a call as they like.
    const Index num_prompt = draw(1, 400);
    const Index num_reply = draw(1, 120);
    Load load = load_of(idx + 1, num_prompt, num_reply, std::string(1, "abc"[draw(0, 2)]));
    load.job.priority = static_cast<int>(draw(0, 1));
    load.arrival_step = draw(0, 300);
    work.loads.push_back(load);
  }
  return work;
}

// The whole course of a workload, as text.
std::string run(const Workload& work, unsigned seed, Index& num_preemptions) {
  Simulation simulation(work.options, work.budget_bytes, seed);
  std::string trace;
  Index num_added = 0;
  for (Index step = 0; num_added < to_index(work.loads.size()) || !simulation.is_done(); ++step) {
    for (const Load& load : work.loads) {
      if (load.arrival_step == step) {
        simulation.add(load);
        ++num_added;
      }
    }
    const StepPlan plan = simulation.step();
    if (::testing::Test::HasFatalFailure()) {
      return trace;
    }
    EXPECT_TRUE(!plan.rows.empty() || simulation.is_done()) << "nothing moves at step " << step;
    for (const StepRow& row : plan.rows) {
      trace += std::to_string(static_cast<std::uint64_t>(row.id)) + ":" +
               std::to_string(row.num_tokens) + " ";
    }
    trace += "\n";
    // All work in steps of one token, and everything computed again with every preemption.
    const Index bound = 300 + 40 * 520 * (1 + simulation.num_preemptions());
    if (plan.rows.empty() && !simulation.is_done()) {
      return trace;
    }
    if (step > bound) {
      ADD_FAILURE() << "a sequence starves";
      return trace;
    }
  }
  num_preemptions += simulation.num_preemptions();
  return trace;
}

TEST(Scheduler, EverySequenceFinishesWithinTheBudget) {
  Index num_preemptions = 0;
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    run(random_workload(seed), seed, num_preemptions);
    if (HasFailure()) {
      return;
    }
  }
  EXPECT_GT(num_preemptions, 100) << "the workloads ask for too little";
}

TEST(Scheduler, TheSameCallsGiveTheSamePlans) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Index first = 0;
    Index second = 0;
    ASSERT_EQ(run(random_workload(seed), seed, first), run(random_workload(seed), seed, second));
    ASSERT_EQ(first, second);
  }
}

TEST(Scheduler, ALongPromptDoesNotHoldUpWhatIsDecoded) {
  Simulation simulation({.max_running = 4, .step_tokens = 64}, 10'000);
  simulation.add(load_of(1, 3, 100));
  simulation.step();
  simulation.add(load_of(2, 5000, 1));
  for (int step = 0; step < 50; ++step) {
    const StepPlan plan = simulation.step();
    ASSERT_EQ(plan.rows.front().id, id_of(1));
    ASSERT_EQ(plan.rows.front().num_tokens, 1);
    ASSERT_EQ(plan.rows.size(), 2U);
  }
}

TEST(Scheduler, AShortPromptIsComputedBesideALongOne) {
  Simulation simulation({.max_running = 4, .step_tokens = 64}, 100'000);
  simulation.add(load_of(1, 50'000, 1));
  simulation.step();
  simulation.add(load_of(2, 100, 1));
  for (int step = 0; step < 10; ++step) {
    simulation.step();
  }
  EXPECT_TRUE(simulation.is_done(id_of(2)));
  EXPECT_GT(simulation.num_cached(id_of(1)), 0);
}

TEST(Scheduler, AUserWithManyRequestsDoesNotStarveAnother) {
  Simulation simulation({.max_running = 4, .step_tokens = 64}, 100'000);
  for (Index idx = 1; idx <= 50; ++idx) {
    simulation.add(load_of(idx, 10, 1000, "greedy"));
  }
  for (int step = 0; step < 20; ++step) {
    simulation.step();
  }
  simulation.add(load_of(100, 10, 5, "modest"));
  for (int step = 0; step < 8; ++step) {
    simulation.step();
  }
  EXPECT_TRUE(simulation.is_done(id_of(100)));
  // What gave way is the first to go on, and no more than one did.
  EXPECT_EQ(simulation.num_preemptions(), 1);
  simulation.step();
  for (Index idx = 1; idx <= 4; ++idx) {
    EXPECT_TRUE(simulation.is_running(id_of(idx))) << idx;
  }
}

TEST(Scheduler, UsersTakeTurnsWithWhatIsLeftOfAStep) {
  Simulation simulation({.max_running = 4, .step_tokens = 65, .max_prompts_per_user = 1}, 100'000);
  simulation.add(load_of(1, 10'000, 1, "a"));
  simulation.add(load_of(2, 10'000, 1, "b"));
  for (int step = 0; step < 100; ++step) {
    simulation.step();
  }
  EXPECT_LE(std::abs(simulation.num_cached(id_of(1)) - simulation.num_cached(id_of(2))), 1);
}

TEST(Scheduler, ABetterPriorityTakesThePlaceOfAWorseOne) {
  Simulation simulation({.max_running = 1, .step_tokens = 8}, 10'000);
  simulation.add(load_of(1, 4, 100));
  simulation.step();
  Load urgent = load_of(2, 4, 3);
  urgent.job.priority = -1;
  simulation.add(urgent);
  simulation.step();
  EXPECT_FALSE(simulation.is_running(id_of(1)));
  while (!simulation.is_done(id_of(2))) {
    ASSERT_FALSE(simulation.is_running(id_of(1)));
    simulation.step();
  }
  simulation.step();
  EXPECT_TRUE(simulation.is_running(id_of(1)));
}

TEST(Scheduler, WhatGaveWayIsKeptAtFirstAndCounts) {
  Simulation simulation({.max_running = 1, .step_tokens = 64}, 512);
  Load long_one = load_of(1, 400, 100);
  long_one.job.priority = 1;
  simulation.add(long_one);
  while (simulation.num_cached(id_of(1)) < 490) {
    simulation.step();
  }
  simulation.add(load_of(2, 400, 1));
  simulation.step();  // asserts that caches fit the budget, as every step
  EXPECT_EQ(simulation.num_preemptions(), 1);
  EXPECT_TRUE(simulation.is_running(id_of(2)));
}

TEST(Scheduler, WhatIsKeptGivesWayToOneThatIsDecodedAlone) {
  Scheduler scheduler({.max_running = 1}, byte_per_token());
  const auto reusable = [](SequenceId) { return Reusable{}; };
  scheduler.add(load_of(1, kPage, 2).job);
  scheduler.apply(scheduler.plan({.free_bytes = 2 * kPage, .reusable = reusable}));
  scheduler.update(id_of(1), kPage, kPage + 1, true);
  const StepPlan held_up =
      scheduler.plan({.free_bytes = kPage - 1, .can_evict = true, .reusable = reusable});
  EXPECT_TRUE(held_up.rows.empty());
  EXPECT_TRUE(held_up.preempted.empty());
  EXPECT_EQ(held_up.bytes_short, 1);
  // Nothing is kept any more.
  EXPECT_EQ(scheduler.plan({.free_bytes = kPage - 1, .reusable = reusable}).rows.size(), 1U);
}

TEST(Scheduler, EqualsOfOneUserAreServedAsTheyCame) {
  Simulation simulation({.max_running = 1, .step_tokens = 8}, 10'000);
  for (Index idx = 1; idx <= 3; ++idx) {
    simulation.add(load_of(idx, 4, 3));
  }
  simulation.step();
  EXPECT_TRUE(simulation.is_running(id_of(1)));
  while (!simulation.is_done(id_of(1))) {
    ASSERT_FALSE(simulation.is_running(id_of(2)));
    simulation.step();
  }
  simulation.step();
  EXPECT_TRUE(simulation.is_running(id_of(2)));
  EXPECT_FALSE(simulation.is_running(id_of(3)));
}

TEST(Scheduler, WhatOthersAreComputingIsWaitedForWithoutHoldingUpTheRest) {
  Simulation simulation({.max_running = 4, .step_tokens = 64}, 10'000);
  simulation.coming = {id_of(1)};
  simulation.add(load_of(1, 100, 1));
  simulation.add(load_of(2, 1000, 1));
  simulation.step();
  EXPECT_FALSE(simulation.is_running(id_of(1)));
  EXPECT_TRUE(simulation.is_running(id_of(2)));
  simulation.coming.clear();
  simulation.step();
  EXPECT_TRUE(simulation.is_running(id_of(1)));
}

TEST(Scheduler, WithoutMemoryTheNewestGivesWayAndTheOldestGoesOn) {
  Simulation simulation({.max_running = 3, .step_tokens = 64, .reply_tokens_ahead = 0}, 160);
  simulation.add(load_of(1, 16, 100));
  simulation.add(load_of(2, 16, 100));
  while (!simulation.is_done(id_of(1))) {
    simulation.step();
    ASSERT_TRUE(simulation.is_done(id_of(1)) || simulation.is_running(id_of(1)));
  }
  EXPECT_GT(simulation.num_preemptions(), 0);
  while (!simulation.is_done()) {
    simulation.step();
  }
}

TEST(Scheduler, PassedDeadlinesAreListedWaitingAndRunning) {
  Scheduler scheduler({.max_running = 1}, byte_per_token());
  const TimePoint start;
  Job early = load_of(1, 4, 1).job;
  early.deadline = start + std::chrono::seconds(1);
  Job late = load_of(2, 4, 1).job;
  late.deadline = start + std::chrono::seconds(2);
  scheduler.add(early);
  scheduler.add(late);
  scheduler.add(load_of(3, 4, 1).job);
  EXPECT_TRUE(scheduler.expired(start).empty());
  EXPECT_EQ(scheduler.expired(start + std::chrono::seconds(1)), std::vector{id_of(1)});
  EXPECT_EQ(scheduler.expired(start + std::chrono::seconds(5)), (std::vector{id_of(1), id_of(2)}));
}

TEST(Scheduler, DraftsGoAlongWhileAStepHasRoom) {
  Scheduler scheduler({.max_running = 2, .step_tokens = 3}, byte_per_token());
  scheduler.add(load_of(1, 4, 1).job);
  scheduler.add(load_of(2, 4, 1).job);
  const Capacity capacity = {.free_bytes = 1000, .reusable = [](SequenceId) { return Reusable{}; }};
  scheduler.apply(scheduler.plan(capacity));
  scheduler.update(id_of(1), 4, 6, true);
  scheduler.update(id_of(2), 4, 6, true);
  const StepPlan plan = scheduler.plan(capacity);
  ASSERT_EQ(plan.rows.size(), 2U);
  EXPECT_EQ(plan.rows[0].num_tokens, 2);
  EXPECT_EQ(plan.rows[1].num_tokens, 1);
}

TEST(Scheduler, RefusesOptionsOutOfRange) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "at least 1",
                                  [] { Scheduler({.max_running = 0}, byte_per_token()); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "steps of 4 tokens", [] {
    Scheduler({.max_running = 5, .step_tokens = 4}, byte_per_token());
  }));
}

}  // namespace
}  // namespace fathom::engine
