#include "fathom/base/formats/settings.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using testing::fails_with;

struct Wishes {
  bool is_loud = false;
  Index steps = 100;
  double rate = 1e-20;
  std::string method = "muon";
  std::vector<std::string> files = {"a"};
  Index threads = 1;
  std::vector<double> weights = {};
};

Settings table_of(Wishes& wishes) {
  return Settings({
      {.section = "run", .key = "loud", .value = &wishes.is_loud, .help = "Whether it sings"},
      {.section = "run", .key = "steps", .value = &wishes.steps, .help = "Steps", .minimum = 1},
      {.section = "run",
       .key = "threads",
       .value = &wishes.threads,
       .help = "Threads",
       .minimum = 1,
       .maximum = 64,
       .changes_results = false},
      {.section = "how", .key = "rate", .value = &wishes.rate, .help = "Rate", .minimum = 0},
      {.section = "how",
       .key = "method",
       .value = &wishes.method,
       .help = "Which one",
       .choices = {"muon", "adamw"}},
      {.section = "how", .key = "weights", .value = &wishes.weights, .help = "W", .minimum = 0},
      {.section = "how", .key = "files", .value = &wishes.files, .help = "Files"},
  });
}

void expect_refused(const std::string& toml, const std::string& part) {
  Wishes wishes;
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, part, [&] { table_of(wishes).read(toml, "x.toml"); }));
}

TEST(Settings, WhatTheTextNamesIsSetAndTheRestKeepsItsDefault) {
  Wishes wishes;
  table_of(wishes).read(
      "[run]\nloud = true\n[how]\nrate = 3\nmethod = \"adamw\"\nfiles = [\"b\", \"c\"]\n",
      "x.toml");
  EXPECT_TRUE(wishes.is_loud);
  EXPECT_EQ(wishes.steps, 100);
  EXPECT_EQ(wishes.rate, 3.0);
  EXPECT_EQ(wishes.method, "adamw");
  EXPECT_EQ(wishes.files, (std::vector<std::string>{"b", "c"}));
}

TEST(Settings, EveryMistakeNamesFileLineAndKey) {
  expect_refused("[run]\nlod = true\n", "x.toml:2: run: unknown key \"lod\"");
  expect_refused("[ruin]\nloud = true\n", "x.toml:1: unknown key \"ruin\"");
  expect_refused("steps = 3\n", "x.toml:1: unknown key \"steps\"");
  expect_refused("[run]\n\nsteps = 1.5\n", "x.toml:3: run: steps: found a value of type");
  expect_refused("[run]\nsteps = 0\n", "x.toml:2: run: steps: found 0, expected at least 1");
  expect_refused("[run]\nthreads = 65\n", "threads: found 65, expected 1 to 64");
  expect_refused("[run]\nloud = 1\n", "loud: found a value of type");
  expect_refused("[how]\nmethod = \"sgd\"\n", "found \"sgd\", expected one of muon, adamw");
  expect_refused("[how]\nfiles = \"a\"\n", "files: found a value of type");
  expect_refused("[how]\nweights = [1, -2]\n", "weights: found -2, expected at least 0");
  expect_refused("[how\n", "x.toml:1: not TOML");
}

TEST(Settings, OneCanBeSetByItself) {
  Wishes wishes;
  Settings settings = table_of(wishes);
  settings.set("run.steps=7", "--set");
  settings.set("how.method=adamw", "--set");
  settings.set("how.files=[\"x\", \"y\"]", "--set");
  EXPECT_EQ(wishes.steps, 7);
  EXPECT_EQ(wishes.method, "adamw");
  EXPECT_EQ(wishes.files, (std::vector<std::string>{"x", "y"}));
  settings.set("how.method=\"muon\"", "--set");
  EXPECT_EQ(wishes.method, "muon");
  const auto refused = [&](const std::string& assignment, const char* part) {
    return fails_with(ErrorCode::InvalidArgument, part, [&] { settings.set(assignment, "--set"); });
  };
  EXPECT_TRUE(refused("run.steps", "--set: found \"run.steps\", expected section.key=value"));
  EXPECT_TRUE(refused("run.stepz=1", "expected section.key=value of a setting"));
  EXPECT_TRUE(refused("run.steps=many", "--set:2"));
}

TEST(Settings, TheDumpReadsBackWhateverItHolds) {
  Wishes wishes{.is_loud = true,
                .steps = -1,
                .rate = 0.1 + 0.2,
                .method = "adamw",
                .files = {"caf\xc3\xa9/\"x\"", "a\\b\n", "\xf0\x9f\x90\xb3"}};
  wishes.steps = 7;
  wishes.weights = {0.1, 3};
  const std::string dumped = table_of(wishes).dump();
  Wishes again;
  table_of(again).read(dumped, "x.toml");
  EXPECT_EQ(again.is_loud, wishes.is_loud);
  EXPECT_EQ(again.steps, wishes.steps);
  EXPECT_EQ(again.rate, wishes.rate);
  EXPECT_EQ(again.method, wishes.method);
  EXPECT_EQ(again.files, wishes.files);
  EXPECT_EQ(again.weights, wishes.weights);
  EXPECT_EQ(table_of(again).dump(), dumped);
}

TEST(Settings, TheExplanationIsTheDumpWithHelpAndReadsBack) {
  Wishes wishes;
  const std::string text = table_of(wishes).explain();
  EXPECT_NE(text.find("# Which one (muon, adamw)\nmethod = \"muon\"\n"), std::string::npos) << text;
  Wishes again{.steps = 5};
  table_of(again).read(text, "x.toml");
  EXPECT_EQ(again.steps, 100);
}

TEST(Settings, OnlyWhatChangesResultsCountsAsADifference) {
  Wishes wishes;
  const std::string dumped = table_of(wishes).dump();
  EXPECT_TRUE(table_of(wishes).changed_since(dumped, "old").empty());
  wishes.threads = 2;
  EXPECT_TRUE(table_of(wishes).changed_since(dumped, "old").empty());
  wishes.steps = 200;
  wishes.files.clear();
  const auto differences = table_of(wishes).changed_since(dumped, "old");
  ASSERT_EQ(differences.size(), 2U);
  EXPECT_EQ(differences[0].name, "run.steps");
  EXPECT_EQ(differences[0].before, "100");
  EXPECT_EQ(differences[0].now, "200");
  EXPECT_EQ(differences[1].before, "[\"a\"]");
  EXPECT_EQ(table_of(wishes).changed_since("[run]\nsteps = 200\n", "old").size(), 5U);
}

}  // namespace
}  // namespace fathom::formats
