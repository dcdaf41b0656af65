#include "fathom/train/data/build.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "fathom/train/data/packed_source.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

std::string random_text(std::mt19937_64& random, Index num_words) {
  std::string text;
  for (Index i = 0; i < num_words; ++i) {
    text += (text.empty() ? "word" : " word") + std::to_string(random() % 400);
  }
  return text;
}

std::string line(const std::string& text) {
  return "{\"text\":\"" + text + "\"}\n";
}

// 300 texts of their own, every tenth also twice more: once as it is but for its white space, once
// with a word more at the end.
void write_inputs(const test::TempDir& folder) {
  std::mt19937_64 random(1);
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_text(random, 60);
    lines += line(text);
    if (i % 10 == 0) {
      lines += line("  " + text + " ") + line(text + " more");
    }
  }
  test::write_file(folder / "a.jsonl", lines);
  test::write_file(folder / "b.txt", "na\xefve\n\nshort\n\n" + random_text(random, 30) + "\n");
}

BuildOptions options_for(const test::TempDir& folder, const std::string& out) {
  BuildOptions options;
  options.out = folder / out;
  options.inputs = list_inputs({folder / "a.jsonl", folder / "b.txt"});
  options.documents.split = TextSplit::BlankLines;
  options.near_threshold = 0.8;
  options.trained_vocabulary = 400;
  options.shard_tokens = 5000;
  options.validation_share = 0.1;
  return options;
}

Manifest run(const BuildOptions& options, int num_threads = 2, const BuildHooks& hooks = {}) {
  platform::ThreadPool pool({.num_threads = num_threads});
  return build(options, std::nullopt, pool, hooks);
}

// Names and bytes of all files of a folder.
std::map<std::string, std::string> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[std::filesystem::relative(entry.path(), folder).string()] =
          test::read_file(entry.path());
    }
  }
  return files;
}

TEST(Build, KeepsWhatIsItsOwnAndReportsTheRest) {
  test::TempDir folder;
  write_inputs(folder);
  const Manifest manifest = run(options_for(folder, "out"));
  const std::string report = test::read_file(folder / "out/data.json");
  EXPECT_NE(report.find("\"read\": 363, \"kept\": 303, \"repaired\": 1"), std::string::npos);
  EXPECT_NE(report.find("\"exact_duplicate\": 30, \"near_duplicate\": 30"), std::string::npos);
  EXPECT_GT(manifest.shards.size(), 2U);
  EXPECT_FALSE(std::filesystem::exists(folder / "out/.build"));
  const PackedSource train({open_data_set(folder / "out")}, {});
  const PackedSource validation({open_data_set(folder / "out")}, {.split = Split::Validation});
  EXPECT_EQ(train.num_documents() + validation.num_documents(), 303);
  EXPECT_EQ(to_hex(train.fingerprint()), manifest.fingerprint);
}

TEST(Build, ResultDoesNotDependOnThreads) {
  test::TempDir folder;
  write_inputs(folder);
  run(options_for(folder, "one"), 1);
  run(options_for(folder, "three"), 3);
  EXPECT_EQ(files_of(folder / "one"), files_of(folder / "three"));
}

// Stopped at every call of the hook in turn, each run goes on where the one before was stopped.
TEST(Build, InterruptedAnywhereItGoesOnToTheSameBytes) {
  test::TempDir folder;
  write_inputs(folder);
  run(options_for(folder, "whole"));
  int num_runs = 0;
  bool is_done = false;
  for (int limit = 1; !is_done; limit += 37) {
    ++num_runs;
    int num_calls = 0;
    BuildHooks hooks;
    hooks.is_stopped = [&] { return ++num_calls > limit; };
    try {
      run(options_for(folder, "parts"), 2, hooks);
      is_done = true;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::Interrupted);
      EXPECT_FALSE(std::filesystem::exists(folder / "parts/data.json"));
    }
  }
  EXPECT_GE(num_runs, 3);
  EXPECT_EQ(files_of(folder / "parts"), files_of(folder / "whole"));
}

TEST(Build, AFinishedOrForeignBuildIsLeftAlone) {
  test::TempDir folder;
  write_inputs(folder);
  BuildOptions options = options_for(folder, "out");
  run(options);
  const auto before = files_of(folder / "out");
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "found a finished data set", [&] { run(options); }));
  EXPECT_EQ(files_of(folder / "out"), before);
  remove_build(folder / "out");
  EXPECT_TRUE(files_of(folder / "out").empty());
  BuildHooks stop;
  stop.is_stopped = [] { return true; };
  EXPECT_TRUE(
      fails_with(ErrorCode::Interrupted, "goes on from there", [&] { run(options, 1, stop); }));
  options.validation_share = 0.2;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "found an unfinished build of other inputs",
                         [&] { run(options); }));
}

TEST(Build, RemovingLeavesFilesOfOthers) {
  test::TempDir folder;
  test::write_file(folder / "shard-of-mine", "x");
  remove_build(folder.path());
  EXPECT_TRUE(std::filesystem::exists(folder / "shard-of-mine"));
}

TEST(Build, ContaminatedDocumentsAreRefusedAndListed) {
  test::TempDir folder;
  write_inputs(folder);
  std::mt19937_64 random(1);
  test::write_file(folder / "exam.txt", "Question 7: " + random_text(random, 60) + "?");
  BuildOptions options = options_for(folder, "out");
  options.evaluation_files = {folder / "exam.txt"};
  run(options);
  const std::string hits = test::read_file(folder / "out/contamination.jsonl");
  // The text, and its two likenesses, whatever else they are.
  EXPECT_EQ(std::count(hits.begin(), hits.end(), '\n'), 3);
  EXPECT_TRUE(hits.starts_with("{\"document\":\"" + (folder / "a.jsonl").string() + ": line 1\""));
  EXPECT_NE(hits.find("exam.txt\",\"line\":1}"), std::string::npos);
}

TEST(Build, NothingLeftIsAnErrorThatSaysWhy) {
  test::TempDir folder;
  write_inputs(folder);
  BuildOptions options = options_for(folder, "out");
  options.quality.min_characters = 1'000'000;
  EXPECT_TRUE(
      fails_with(ErrorCode::InvalidArgument, "363 refused as too_short", [&] { run(options); }));
}

}  // namespace
}  // namespace fathom::data
