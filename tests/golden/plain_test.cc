// High numerics against the official model's fp32 results (golden README, `plain.*`).
#include <gtest/gtest.h>

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"

namespace fathom::testing {
namespace {

struct Case {
  std::string checkpoint;
  std::string backend;
  Index chunk;  // 0: whole
};

double tolerance(const Case& param) {
  return param.backend == "reference:f64" ? 5e-5 : 2e-4;
}

class Plain : public ::testing::TestWithParam<Case> {};

TEST_P(Plain, LogitsAreWithinToleranceAtEveryPosition) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  kv::SequenceCache cache = model.cache();
  EXPECT_TRUE(all_within(model.logits(model.prompt(), GetParam().chunk, cache),
                         model.reference().read<float>("plain.logits"), tolerance(GetParam())));
}

TEST_P(Plain, RoutesAndIndexBlocksAreEqual) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  model.observe();
  kv::SequenceCache cache = model.cache();
  model.logits(model.prompt(), GetParam().chunk, cache);
  for (Index layer = 0; layer < model.config().num_layers(); ++layer) {
    const std::string key = "plain.layer." + std::to_string(layer);
    const auto ids = model.reference().read<std::int32_t>(key + ".route_ids");
    EXPECT_TRUE(all_within(model.observed("route_ids", layer).values, ids, 0)) << key;
    EXPECT_TRUE(all_within(model.observed("route_weights", layer).values,
                           model.reference().read<float>(key + ".route_weights"),
                           tolerance(GetParam())))
        << key;
    if (model.config().layers[to_size(layer)].attention !=
        config::AttentionKind::CompressedSparse) {
      continue;
    }
    // Both sorted, ours ascending and only as wide as needed.
    const auto expected = model.reference().read<std::int32_t>(key + ".index_blocks");
    const Observed& seen = model.observed("index_blocks", layer);
    const auto top_k = to_size(model.config().index_top_k);
    for (std::size_t row = 0; row < expected.size() / top_k; ++row) {
      std::vector<int> wanted(expected.begin() + static_cast<std::ptrdiff_t>(row * top_k),
                              expected.begin() + static_cast<std::ptrdiff_t>((row + 1) * top_k));
      std::erase(wanted, -1);
      std::sort(wanted.begin(), wanted.end());
      std::vector<int> found;
      for (Index i = 0; i < seen.columns; ++i) {
        const auto id = static_cast<int>(seen.values.at(row * to_size(seen.columns) + to_size(i)));
        if (id >= 0) {
          found.push_back(id);
        }
      }
      ASSERT_EQ(found, wanted) << key << " row " << row;
    }
  }
}

TEST_P(Plain, MtpLogitsAreWithinTolerance) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  if (GetParam().checkpoint == "trained-bytes") {
    EXPECT_EQ(model.lm().draft(), nullptr);
    return;
  }
  EXPECT_TRUE(all_within(model.draft_logits(model.prompt(), GetParam().chunk),
                         model.reference().read<float>("plain.mtp.logits"), tolerance(GetParam())));
}

TEST_P(Plain, HiddenStatesOfLayersAreWithinTolerance) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  model.observe();
  kv::SequenceCache cache = model.cache();
  model.logits(model.prompt(), GetParam().chunk, cache);
  const auto positions = model.reference().read<std::int32_t>("positions");
  const std::pair<const char*, const char*> names[] = {
      {"hidden", "hidden"}, {"attention_out", "attn_out"}, {"expert_out", "ffn_out"}};
  for (Index layer = 0; layer < model.config().num_layers(); ++layer) {
    for (const auto& [ours, theirs] : names) {
      const Observed& seen = model.observed(ours, layer);
      std::vector<double> rows;
      for (const std::int32_t position : positions) {
        const auto begin = seen.values.begin() + position * seen.columns;
        rows.insert(rows.end(), begin, begin + seen.columns);
      }
      const std::string key = "plain.layer." + std::to_string(layer) + "." + theirs;
      EXPECT_TRUE(all_within(rows, model.reference().read<float>(key), 10 * tolerance(GetParam())))
          << key;
    }
  }
}

TEST_P(Plain, GreedyTokensAreEqual) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  auto tokens = model.prompt();
  tokens.resize(40);
  kv::SequenceCache cache = model.cache();
  std::vector<std::int32_t> greedy;
  const auto columns = static_cast<std::ptrdiff_t>(model.config().vocab_size);
  auto logits = model.logits(tokens, GetParam().chunk, cache);
  while (true) {
    const auto best =
        std::max_element(logits.end() - columns, logits.end()) - (logits.end() - columns);
    greedy.push_back(static_cast<std::int32_t>(best));
    if (greedy.size() == 24) {
      break;
    }
    logits = model.logits({greedy.back()}, 0, cache);
  }
  EXPECT_EQ(greedy, model.reference().read<std::int32_t>("plain.greedy_40_24"));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& checkpoint : golden_checkpoints()) {
    for (const char* backend : {"reference", "reference:f64", "cpu"}) {
      for (const Index chunk : {0, 1, 7, 64}) {
        all.push_back({checkpoint, backend, chunk});
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Golden, Plain, ::testing::ValuesIn(cases()), [](const auto& test) {
  std::string name =
      test.param.checkpoint + "_" + test.param.backend + "_" + std::to_string(test.param.chunk);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == ':'; }, '_');
  return name;
});

}  // namespace
}  // namespace fathom::testing
