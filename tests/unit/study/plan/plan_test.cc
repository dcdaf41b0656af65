#include "fathom/study/plan/plan.h"

#include <chrono>

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/simple_machine.h"

namespace fathom::plan {
namespace {

using testing::fails_with;

PlanRequest request_of(const char* name) {
  PlanRequest request;
  request.config = config::find_builtin_config(name)->model;
  request.storage = storage_by_plan(config::storage_plan_from_name("fp4"));
  request.machine = simple_machine();
  return request;
}

const DecodeCell& first_cell(const Plan& plan) {
  return plan.decode.front();
}

TEST(Plan, CountsAreThoseOfTheSpecificationToTheUnit) {
  const Plan flash = make_plan(request_of("v4-flash"));
  EXPECT_EQ(flash.parameters.total, 284'332'240'471);
  EXPECT_EQ(flash.parameters.active, 13'270'031'954);
  const Plan pro = make_plan(request_of("v4-pro"));
  EXPECT_EQ(pro.parameters.total, 1'572'997'201'763);
  EXPECT_EQ(pro.parameters.active, 48'852'280'158);
}

TEST(Plan, WithoutAMachineThereAreSizesAndTheWayToSpeeds) {
  PlanRequest request = request_of("v4-flash");
  request.machine.reset();
  const Plan plan = make_plan(request);
  EXPECT_GT(plan.weights.total(), 0);
  EXPECT_FALSE(first_cell(plan).tokens_per_s);
  EXPECT_NE(plan.no_speed.find("fathom probe"), std::string::npos);
  EXPECT_TRUE(plan.fits.empty());
}

TEST(Plan, ModelThatDoesNotFitReadsItsExpertsFromTheDisk) {
  PlanRequest request = request_of("v4-flash");
  const double in_memory = first_cell(make_plan(request)).tokens_per_s->p50;
  set_figure(*request.machine, FigureKind::RamBytes, 64e9);
  EXPECT_EQ(first_cell(make_plan(request)).placement, Placement::Nowhere);  // no disk is known
  set_figure(*request.machine, FigureKind::DiskReadBytesPerS, 5e9);
  const Plan plan = make_plan(request);
  EXPECT_EQ(first_cell(plan).placement, Placement::RamAndDisk);
  EXPECT_LT(first_cell(plan).tokens_per_s->p50, in_memory);
  // At most what the disk gives: 3.45 GB of experts per token, two thirds of them not in memory.
  EXPECT_LT(first_cell(plan).tokens_per_s->p50, 5e9 / (3.45e9 * 0.6));
  set_figure(*request.machine, FigureKind::RamBytes, 8e9);
  EXPECT_EQ(first_cell(make_plan(request)).placement, Placement::Nowhere);
  EXPECT_NE(first_cell(make_plan(request)).reason.find("memory leaves 7.6 GB"), std::string::npos);
}

TEST(Plan, MoreSequencesGiveMoreTokensThoughNotInProportion) {
  PlanRequest request = request_of("v4-flash");
  request.batches = {1, 8};
  const Plan plan = make_plan(request);
  const double one = plan.decode[0].tokens_per_s->p50;
  const double eight = plan.decode[1].tokens_per_s->p50;
  EXPECT_GT(eight, one);
  EXPECT_LT(eight, 8 * one);
}

TEST(Plan, TokensInTheCacheAreNotComputedAgain) {
  PlanRequest request = request_of("v4-flash");
  const double whole = make_plan(request).prefill.first_token_s->p50;
  request.cached_share = 0.75;
  const PrefillResult cached = make_plan(request).prefill;
  EXPECT_EQ(cached.computed_tokens, 512);
  EXPECT_LT(cached.first_token_s->p50, whole / 3);
  request.cached_share = 1;
  EXPECT_EQ(make_plan(request).prefill.computed_tokens, 1);
}

TEST(Plan, DraftsHelpTheMoreTheMoreOfThemAreRight) {
  PlanRequest request = request_of("v4-flash");
  request.mtp_acceptance = 0;
  const DecodeCell wrong = first_cell(make_plan(request));
  EXPECT_LT(wrong.drafted_tokens_per_s->p50, wrong.tokens_per_s->p50);
  request.mtp_acceptance = 1;
  const DecodeCell right = first_cell(make_plan(request));
  EXPECT_NEAR(right.drafted_tokens_per_s->p50, 2 * wrong.drafted_tokens_per_s->p50, 1e-6);
}

TEST(Plan, WhatCannotBeIsRefusedByTheNameOfItsOption) {
  const auto refuses = [](const std::string& part, const auto& change) {
    PlanRequest request = request_of("v4-flash");
    change(request);
    return fails_with(ErrorCode::InvalidArgument, part, [&] { make_plan(request); });
  };
  EXPECT_TRUE(refuses("--context", [](PlanRequest& r) { r.contexts = {0}; }));
  EXPECT_TRUE(refuses("--context", [](PlanRequest& r) { r.contexts = {2'000'000}; }));
  EXPECT_TRUE(refuses("--batch", [](PlanRequest& r) { r.batches = {-4}; }));
  EXPECT_TRUE(refuses("--prompt", [](PlanRequest& r) { r.prompt_tokens = 0; }));
  EXPECT_TRUE(refuses("--cached-share", [](PlanRequest& r) { r.cached_share = 1.5; }));
  EXPECT_TRUE(refuses("--mtp-acceptance", [](PlanRequest& r) { r.mtp_acceptance = -1; }));
  EXPECT_TRUE(refuses("--batch: 100000", [](PlanRequest& r) {
    r.batches = {100'000};
    r.must_fit = true;
  }));
}

TEST(Plan, AWholePlanTakesLessThanAFifthOfASecond) {
  PlanRequest request = request_of("v4-pro");
  set_figure(*request.machine, FigureKind::RamBytes, 4e12);
  request.contexts = {4096, 131072, 1048576};
  request.batches = {1, 2, 4, 8, 16, 32};
  request.prompt_tokens = 1048576;
  const auto start = std::chrono::steady_clock::now();
  const Plan plan = make_plan(request);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(plan.prefill.first_token_s);
#if defined(__OPTIMIZE__) && !defined(FATHOM_SANITISED)
  EXPECT_LT(seconds.count(), 0.2);
#endif
}

}  // namespace
}  // namespace fathom::plan
