#include "fathom/serve/engine/adapted_engine.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/random_adapter.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/serve/engine/engine_testing.h"

namespace fathom::engine {
namespace {

// One engine whose model is served as it is, with adapter "a" and with adapter "b".
class AdaptedEngines : public ::testing::Test {
 protected:
  AdaptedEngines() {
    const OpenedModel opened = open_model(tiny_checkpoint());
    const config::ModelConfig& config = opened.config.model;
    unsigned seed = 0;
    for (const char* name : {"a", "b"}) {
      const auto path = folder_ / name;
      weights::write_adapter(path,
                             *testing::random_adapter(config, testing::all_targets(config), ++seed),
                             adapter_base(opened), false);
      adapters_.push_back({.name = name, .path = path.string()});
      oracles_.push_back(std::make_unique<Oracle>(tiny_checkpoint(), path.string()));
    }
    oracles_.push_back(std::make_unique<Oracle>());
  }

  std::shared_ptr<LocalEngine> start(const EngineOptions& options = small_engine()) const {
    return std::make_shared<LocalEngine>(
        open_engine_model(tiny_checkpoint(), tiny_options(), adapters_), tiny_text(), options);
  }
  // 0 and 1: an adapter; 2: the model itself.
  static GenerateRequest request_to(std::size_t model, GenerateRequest request) {
    request.adapter = model == 2 ? "" : model == 0 ? "a" : "b";
    return request;
  }

  test::TempDir folder_;
  std::vector<NamedAdapter> adapters_;
  std::vector<std::unique_ptr<Oracle>> oracles_;
};

TEST_F(AdaptedEngines, RepliesSideBySideAreThoseOfEachModelAlone) {
  for (const Drafts drafts : {Drafts::Off, Drafts::Always}) {
    EngineOptions options = small_engine();
    options.drafts = drafts;
    const auto engine = start(options);
    std::mt19937 random(3);
    std::vector<GenerateRequest> requests;
    std::vector<Submitted> submitted;
    for (std::size_t i = 0; i < 12; ++i) {
      requests.push_back(request_to(i % 3, random_request(random)));
      submitted.push_back(submit(*engine, requests.back()));
    }
    for (std::size_t i = 0; i < 12; ++i) {
      submitted[i].client->wait();
      EXPECT_TRUE(submitted[i].client->choice() == oracles_[i % 3]->reply(requests[i]))
          << "request " << i;
    }
    EXPECT_LT(engine->stats().steps, engine->stats().reply_tokens) << "nothing ran together";
  }
}

TEST_F(AdaptedEngines, NoneGoesOnFromWhatAnotherComputed) {
  const auto engine = start();
  std::mt19937 random(4);
  const GenerateRequest same = request_of(random_tokens(random, 60), 4, 1);
  for (std::size_t model = 0; model < 3; ++model) {
    const auto client = serve(*engine, request_to(model, same));
    EXPECT_EQ(client->usage().num_cached, 0);
    EXPECT_TRUE(client->choice() == oracles_[model]->reply(same));
  }
  for (std::size_t model = 0; model < 3; ++model) {
    const auto client = serve(*engine, request_to(model, same));
    EXPECT_GT(client->usage().num_cached, 50);
    EXPECT_TRUE(client->choice() == oracles_[model]->reply(same));
  }
  // A client that spells an adapter's key is in a scope of its own.
  GenerateRequest forged = same;
  const std::string identity = engine->adapter_identity("a");
  forged.cache_scope = std::to_string(identity.size()) + ":" + identity;
  EXPECT_EQ(serve(*engine, forged)->usage().num_cached, 0);
}

TEST_F(AdaptedEngines, SnapshotsBelongToTheirAdapter) {
  EngineOptions options = small_engine();
  options.snapshots = {.folder = (folder_ / "snapshots").string(),
                       .budget_bytes = std::int64_t{1} << 28};
  std::mt19937 random(5);
  const GenerateRequest same = request_of(random_tokens(random, 150), 12, 1);
  serve(*start(options), request_to(0, same));
  EXPECT_EQ(serve(*start(options), request_to(1, same))->usage().num_cached, 0);
  EXPECT_EQ(serve(*start(options), request_to(2, same))->usage().num_cached, 0);
  const auto again = serve(*start(options), request_to(0, same));
  EXPECT_GT(again->usage().num_cached, 100);
  EXPECT_TRUE(again->choice() == oracles_[0]->reply(same));
}

TEST_F(AdaptedEngines, IsAModelOfItsOwn) {
  const auto engine = start();
  AdaptedEngine adapted(engine, "b", limits_of(*engine, "b"));
  std::mt19937 random(6);
  const GenerateRequest request = random_request(random);
  EXPECT_TRUE(serve(adapted, request)->choice() == oracles_[1]->reply(request));
  EXPECT_NE(adapted.limits().fingerprint, engine->limits().fingerprint);
  EXPECT_NE(adapted.limits().fingerprint, limits_of(*engine, "a").fingerprint);
}

TEST_F(AdaptedEngines, AnUnknownOneIsRefused) {
  const auto engine = start();
  std::mt19937 random(7);
  GenerateRequest request = random_request(random);
  request.adapter = "c";
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::NotFound, "found \"c\"", [&] { submit(*engine, request); }));
}

}  // namespace
}  // namespace fathom::engine
