#include "fathom/study/plan/flops.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/model/config/footprint.h"
#include "fathom/model/config/read_config.h"

#include "tests/support/expect_error.h"
#include "tests/unit/model/config/config_testing.h"

namespace fathom::plan {
namespace {

using config::testing::builtin;
using testing::fails_with;

constexpr double kGiga = 1e9;

::testing::AssertionResult is_within_one_percent(double found, double expected) {
  if (!(std::abs(found / expected - 1) <= 0.01)) {
    return ::testing::AssertionFailure() << found << " is not " << expected;
  }
  return ::testing::AssertionSuccess();
}

struct Reference {
  const char* model;
  Index context_tokens;
  double giga_flop;
};

TEST(Flops, DecodingIsThatOfTheSpecificationAtEveryContext) {
  for (const Reference& reference : {Reference{"v4-flash", 4096, 29.1},
                                     {"v4-flash", 32768, 32.2},
                                     {"v4-flash", 131072, 42.7},
                                     {"v4-flash", 1048576, 141.1},
                                     {"v4-pro", 4096, 108.6},
                                     {"v4-pro", 32768, 114.0},
                                     {"v4-pro", 131072, 132.4},
                                     {"v4-pro", 1048576, 304.3}}) {
    EXPECT_TRUE(is_within_one_percent(
        decode_flop(builtin(reference.model), reference.context_tokens).total() / kGiga,
        reference.giga_flop));
  }
}

TEST(Flops, PartsOfDecodingAreThoseOfTheSpecification) {
  const TokenFlop flash = decode_flop(builtin("v4-flash"), 1048576);
  EXPECT_TRUE(is_within_one_percent((flash.linears + flash.head) / kGiga, 26.54));
  EXPECT_TRUE(is_within_one_percent(flash.sparse_attention / kGiga, 1.76));
  EXPECT_TRUE(is_within_one_percent(flash.heavy_attention / kGiga, 21.81));
  EXPECT_TRUE(is_within_one_percent(flash.indexer / kGiga, 90.90));
  EXPECT_EQ(flash.window_attention, 2.0 * 4 * 512 * 64 * 128);
  EXPECT_EQ(flash.full_attention, 0);
  EXPECT_EQ(flash.stream_mixing, 43.0 * 2 * 2 * 24 * 4096);  // "0.02 G": 4 + 16 + 4 sums of streams
  const TokenFlop pro = decode_flop(builtin("v4-pro"), 131072);
  EXPECT_TRUE(is_within_one_percent((pro.linears + pro.head) / kGiga, 97.70));
  EXPECT_TRUE(is_within_one_percent(pro.sparse_attention / kGiga, 9.06));
  EXPECT_TRUE(is_within_one_percent(pro.heavy_attention / kGiga, 9.36));
  EXPECT_TRUE(is_within_one_percent(pro.indexer / kGiga, 16.23));
}

TEST(Flops, PrefillIsThatOfTheSpecification) {
  for (const Reference& reference : {Reference{"v4-flash", 4096, 27.5},
                                     {"v4-flash", 131072, 34.6},
                                     {"v4-flash", 1048576, 83.4},
                                     {"v4-pro", 4096, 102.3},
                                     {"v4-pro", 131072, 118.0},
                                     {"v4-pro", 1048576, 203.6}}) {
    EXPECT_TRUE(is_within_one_percent(
        mean_prefill_flop(builtin(reference.model), reference.context_tokens, false).total() /
            kGiga,
        reference.giga_flop));
  }
}

TEST(Flops, MeanOfAPromptIsTheMeanOfItsTokens) {
  for (const char* name : {"v4-flash", "v4-pro"}) {
    const config::ModelConfig config = builtin(name);
    double sum = 0;
    for (Index token = 1; token <= 2600; ++token) {
      sum += decode_flop(config, token).total();
      if (token == 1 || token == 3 || token == 127 || token == 128 || token == 130 ||
          token == 2600) {
        const double mean = mean_prefill_flop(config, token, true).total();
        EXPECT_NEAR(mean * static_cast<double>(token) / sum, 1, 1e-12) << token;
      }
    }
  }
}

TEST(Flops, ALongerContextNeverTakesLess) {
  const config::ModelConfig config = builtin("v4-flash");
  double before = 0;
  for (Index context = 1; context < 2'000'000; context = context * 3 / 2 + 1) {
    const double flop = decode_flop(config, context).total();
    EXPECT_GE(flop, before) << context;
    EXPECT_GE(flop, mean_prefill_flop(config, context, true).total());
    before = flop;
  }
}

TEST(Flops, RuleOfThumbIsThatOfThePublishedSizes) {
  EXPECT_TRUE(is_within_one_percent(rule_of_thumb_training_flop(37e9, 14.8e12), 3.29e24));
  EXPECT_TRUE(is_within_one_percent(rule_of_thumb_training_flop(13e9, 32e12), 2.50e24));
  EXPECT_TRUE(is_within_one_percent(rule_of_thumb_training_flop(49e9, 33e12), 9.70e24));
}

TEST(Flops, TheTwoCountsDifferByAttentionAndMixingAlone) {
  const config::ModelConfig config = builtin("v4-flash");
  const auto active = static_cast<double>(config::count_parameters(config).active);
  const TokenFlop mean = mean_prefill_flop(config, 4096, true);
  const double exact = training_flop_per_token(config, 4096);
  const double beside = 3 * (mean.total() - mean.linears - mean.head);
  EXPECT_NEAR((exact - beside) / rule_of_thumb_training_flop(active, 1), 1, 2e-4);  // norms, biases
  EXPECT_GT(beside / exact, 0.05);
}

TEST(Flops, NoTokenIsRefused) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "context_tokens: found 0",
                         [] { decode_flop(builtin("v4-flash"), 0); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "prompt_tokens: found -1",
                         [] { mean_prefill_flop(builtin("v4-flash"), -1, false); }));
}

}  // namespace
}  // namespace fathom::plan
