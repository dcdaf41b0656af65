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

class Plain : public ::testing::TestWithParam<Case> {
 protected:
  GoldenModel model_{GetParam().checkpoint, GetParam().backend, ops::Numerics::High};

  std::string layer_key(Index layer, const std::string& name) const {
    return "plain.layer." + std::to_string(layer) + "." + name;
  }

  void expect_routes(Index layer) {
    EXPECT_TRUE(all_within(model_.observed("route_ids", layer).values,
                           model_.reference().read<std::int32_t>(layer_key(layer, "route_ids")), 0))
        << layer;
    EXPECT_TRUE(all_within(model_.observed("route_weights", layer).values,
                           model_.reference().read<float>(layer_key(layer, "route_weights")),
                           tolerance(GetParam())))
        << layer;
  }

  // Both sorted, ours ascending and only as wide as needed.
  void expect_index_blocks(Index layer) {
    const auto expected = model_.reference().read<std::int32_t>(layer_key(layer, "index_blocks"));
    const Observed& seen = model_.observed("index_blocks", layer);
    const auto top_k = to_size(model_.config().index_top_k);
    const auto row_of = [](const auto& values, std::size_t row, std::size_t columns) {
      std::vector<int> ids;
      for (std::size_t i = row * columns; i < (row + 1) * columns; ++i) {
        if (values.at(i) >= 0) {
          ids.push_back(static_cast<int>(values[i]));
        }
      }
      std::sort(ids.begin(), ids.end());
      return ids;
    };
    for (std::size_t row = 0; row < expected.size() / top_k; ++row) {
      ASSERT_EQ(row_of(seen.values, row, to_size(seen.columns)), row_of(expected, row, top_k))
          << "layer " << layer << " row " << row;
    }
  }

  void expect_hidden_states(Index layer) {
    const std::pair<const char*, const char*> names[] = {
        {"hidden", "hidden"}, {"attention_out", "attn_out"}, {"expert_out", "ffn_out"}};
    for (const auto& [ours, theirs] : names) {
      const Observed& seen = model_.observed(ours, layer);
      std::vector<double> rows;
      for (const std::int32_t position : model_.reference().read<std::int32_t>("positions")) {
        const auto begin = seen.values.begin() + position * seen.columns;
        rows.insert(rows.end(), begin, begin + seen.columns);
      }
      // Inner states are larger than logits; a wrong formula is off by far more.
      EXPECT_TRUE(all_within(rows, model_.reference().read<float>(layer_key(layer, theirs)),
                             10 * tolerance(GetParam())))
          << theirs << " " << layer;
    }
  }
};

TEST_P(Plain, LogitsRoutesIndexBlocksAndHiddenStatesMeetTheReference) {
  model_.observe();
  kv::SequenceCache cache = model_.cache();
  const auto logits = model_.logits(model_.prompt(), GetParam().chunk, cache);
  EXPECT_TRUE(
      all_within(logits, model_.reference().read<float>("plain.logits"), tolerance(GetParam())));
  for (Index layer = 0; layer < model_.config().num_layers(); ++layer) {
    expect_routes(layer);
    expect_hidden_states(layer);
    if (model_.config().layers[to_size(layer)].attention ==
        config::AttentionKind::CompressedSparse) {
      expect_index_blocks(layer);
    }
  }
}

TEST_P(Plain, MtpLogitsMeetTheReference) {
  if (GetParam().checkpoint == "trained-bytes") {
    EXPECT_EQ(model_.lm().draft(), nullptr);
    return;
  }
  EXPECT_TRUE(all_within(model_.draft_logits(model_.prompt(), GetParam().chunk),
                         model_.reference().read<float>("plain.mtp.logits"),
                         tolerance(GetParam())));
}

class PlainGreedy : public ::testing::TestWithParam<Case> {};

TEST_P(PlainGreedy, TokensAreEqual) {
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

// In double the order of sums is below the comparison: what is left is the form of the run.
TEST(PlainDouble, IncrementalRunEqualsWholeRun) {
  for (const char* checkpoint : {"flash-tiny", "pro-tiny", "bf16-tiny"}) {
    GoldenModel model(checkpoint, "reference:f64", ops::Numerics::High);
    kv::SequenceCache whole = model.cache();
    kv::SequenceCache steps = model.cache();
    EXPECT_TRUE(all_within(model.logits(model.prompt(), 1, steps),
                           model.logits(model.prompt(), 0, whole), 1e-9))
        << checkpoint;
  }
}

std::vector<Case> cases(const std::vector<Index>& chunks) {
  std::vector<Case> all;
  for (const std::string& checkpoint : golden_checkpoints()) {
    for (const char* backend : {"reference", "reference:f64", "cpu"}) {
      for (const Index chunk : chunks) {
        // The scalar reference decodes all weights anew in every step: two forms of the run are
        // enough in fp32, double and cpu show all of them.
        if (backend == std::string("reference") && (chunk == 1 || chunk == 7)) {
          continue;
        }
        all.push_back({checkpoint, backend, chunk});
      }
    }
  }
  return all;
}

std::string case_name(const ::testing::TestParamInfo<Case>& test) {
  std::string name =
      test.param.checkpoint + "_" + test.param.backend + "_" + std::to_string(test.param.chunk);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == ':'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Golden, Plain, ::testing::ValuesIn(cases({0, 1, 7, 64})), case_name);
INSTANTIATE_TEST_SUITE_P(Golden, PlainGreedy, ::testing::ValuesIn(cases({0})), case_name);

}  // namespace
}  // namespace fathom::testing
