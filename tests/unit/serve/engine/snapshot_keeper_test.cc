#include "fathom/serve/engine/snapshot_keeper.h"

#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"
#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom::engine {
namespace {

// Engines that keep their snapshots in one folder, one after another.
class SnapshotKeeperTest : public ::testing::Test {
 protected:
  std::shared_ptr<LocalEngine> start(const std::string& numerics = "high",
                                     Drafts drafts = Drafts::WhenFaster) {
    ModelOptions model = tiny_options();
    model.numerics = numerics;
    EngineOptions options = small_engine();
    options.drafts = drafts;
    options.snapshots = {.folder = (folder_ / "snapshots").string(),
                         .budget_bytes = std::int64_t{1} << 28,
                         .on_note = [this](const std::string& note) {
                           const std::lock_guard lock(mutex_);
                           notes_ += note + "\n";
                         }};
    return std::make_shared<LocalEngine>(open_engine_model(tiny_checkpoint(), model), tiny_text(),
                                         options);
  }

  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "snapshots")) {
      if (entry.file_size() > 0) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  std::string notes() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

  static GenerateRequest request(Index num_tokens, unsigned seed = 5) {
    std::mt19937 random(seed);
    return request_of(random_tokens(random, num_tokens), 12, seed);
  }

  test::TempDir folder_;
  std::mutex mutex_;
  std::string notes_;
  Oracle oracle_;
};

TEST_F(SnapshotKeeperTest, AfterARestartAReplyIsTheSameBitsAndThePromptIsNotComputedAgain) {
  const GenerateRequest first = request(150);
  const Heard expected = oracle_.reply(first);
  EXPECT_EQ(serve(*start(), first)->choice(), expected);

  const auto engine = start();
  const auto client = serve(*engine, first);
  EXPECT_EQ(client->choice(), expected);
  EXPECT_GT(client->usage().num_cached, 100);
  EXPECT_EQ(engine->stats().cached_tokens_disk,
            static_cast<std::uint64_t>(client->usage().num_cached));
  EXPECT_EQ(engine->stats().cached_tokens_memory, 0U);
}

TEST_F(SnapshotKeeperTest, TheNextTurnGoesOnFromTheEndOfTheReply) {
  const GenerateRequest first = request(150);
  std::vector<TokenId> prompt = std::get<TokenPrompt>(first.prompt).ids;
  const auto client = serve(*start(), first);
  const std::vector<TokenId>& reply = client->choice().tokens;
  prompt.insert(prompt.end(), reply.begin(), reply.end());
  prompt.insert(prompt.end(), {1, 2, 3});
  const GenerateRequest second = request_of(prompt, 12, 9);
  const auto next = serve(*start(), second);
  EXPECT_EQ(next->choice(), oracle_.reply(second));
  EXPECT_GE(next->usage().num_cached, 150 + to_index(reply.size()) - 1);
}

TEST_F(SnapshotKeeperTest, WhatGoesOnFromASnapshotIsNotGuessedAheadAndSaysTheSame) {
  GenerateRequest first = request(150);
  first.max_tokens = 30;
  const Heard expected = oracle_.reply(first);
  {
    const auto engine = start("high", Drafts::Always);
    EXPECT_EQ(serve(*engine, first)->choice(), expected);
    EXPECT_GT(engine->stats().drafted_tokens, 0U);
  }
  // Snapshots hold no rows of the draft block.
  const auto engine = start("high", Drafts::Always);
  EXPECT_EQ(serve(*engine, first)->choice(), expected);
  EXPECT_GT(engine->stats().cached_tokens_disk, 0U);
  EXPECT_EQ(engine->stats().drafted_tokens, 0U);
  // The next turn, from what that one left in memory; and a request of its own beside it.
  std::vector<TokenId> next = std::get<TokenPrompt>(first.prompt).ids;
  next.insert(next.end(), expected.tokens.begin(), expected.tokens.end());
  next.push_back(7);
  const GenerateRequest second = request_of(next, 20, 3);
  GenerateRequest other = request(140, 99);
  other.max_tokens = 30;
  const Submitted together = submit(*engine, second);
  EXPECT_EQ(serve(*engine, other)->choice(), oracle_.reply(other));
  together.client->wait();
  EXPECT_EQ(together.client->choice(), oracle_.reply(second));
  EXPECT_GT(engine->stats().drafted_tokens, 0U);
}

TEST_F(SnapshotKeeperTest, ADamagedSnapshotIsComputedAgain) {
  const GenerateRequest first = request(150);
  serve(*start(), first);
  ASSERT_EQ(files().size(), 1U);
  const auto size = std::filesystem::file_size(files().front());
  {
    std::fstream file(files().front(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(size - 100));
    const auto byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(size - 100));
    file.put(static_cast<char>(byte ^ 1));
  }
  const auto engine = start();
  const auto client = serve(*engine, first);
  EXPECT_EQ(client->choice(), oracle_.reply(first));
  EXPECT_EQ(engine->stats().cached_tokens_disk, 0U);
  EXPECT_NE(notes(), "");
}

TEST_F(SnapshotKeeperTest, OtherNumericsAndOtherUsersShareNothing) {
  GenerateRequest first = request(150);
  first.cache_scope = "alice";
  serve(*start(), first);
  EXPECT_EQ(serve(*start("official"), first)->usage().num_cached, 0);
  GenerateRequest second = first;
  second.cache_scope = "bob";
  EXPECT_EQ(serve(*start(), second)->usage().num_cached, 0);
}

TEST_F(SnapshotKeeperTest, ShortPromptsAreNotWritten) {
  serve(*start(), request(20));
  EXPECT_TRUE(files().empty());
}

TEST_F(SnapshotKeeperTest, WhoeverGoesAwayWhileASnapshotIsReadLeavesNothingBehind) {
  const GenerateRequest first = request(150);
  serve(*start(), first);
  for (int round = 0; round < 10; ++round) {
    const auto engine = start();
    const Submitted submitted = submit(*engine, first);
    engine->cancel(submitted.id);
    submitted.client->close();
    EXPECT_EQ(serve(*engine, first)->choice(), oracle_.reply(first));
    EXPECT_TRUE(engine->wait_until_idle(std::chrono::minutes(1)));
    EXPECT_EQ(engine->stats().num_waiting, 0);
    EXPECT_EQ(engine->stats().num_running, 0);
  }
}

TEST_F(SnapshotKeeperTest, AFolderBelongsToOneEngine) {
  const auto engine = start();
  EXPECT_THROW(start(), Error);
}

}  // namespace
}  // namespace fathom::engine
