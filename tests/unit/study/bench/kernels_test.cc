#include "fathom/study/bench/kernels.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "fathom/families.h"

namespace fathom::bench {
namespace {

class Kernels : public ::testing::TestWithParam<const char*> {
 protected:
  static std::vector<KernelResult> measure(const std::string& checkpoint,
                                           ops::Numerics numerics,
                                           KernelOptions options) {
    runtime::Runtime runtime({.num_threads = 2, .numerics = numerics});
    const OpenedModel opened =
        open_model(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/" + checkpoint);
    return measure_kernels(runtime, opened.config.model, *opened.store, options);
  }
  // Quick; the figures mean nothing.
  static KernelOptions quick() {
    return {.many_tokens = 5,
            .seconds_per_kernel = 0,
            .working_set_bytes = 100'000,
            .limit = [](Bound) { return 2.0; }};
  }
};

TEST_P(Kernels, EveryFigureIsARateWithItsBound) {
  for (const auto numerics : {ops::Numerics::High, ops::Numerics::Fast}) {
    const auto results = measure(GetParam(), numerics, quick());
    std::set<std::tuple<std::string, std::string, std::string, Index>> names;
    for (const KernelResult& result : results) {
      EXPECT_NE(result.bytes_per_s.has_value(), result.operations_per_s.has_value()) << result.op;
      const double rate = result.bytes_per_s ? *result.bytes_per_s : *result.operations_per_s;
      EXPECT_TRUE(std::isfinite(rate) && rate > 0) << result.op;
      EXPECT_EQ(result.fraction_of_limit.has_value(), result.bound != Bound::None) << result.op;
      if (result.fraction_of_limit) {
        EXPECT_DOUBLE_EQ(*result.fraction_of_limit, rate / 2);
      }
      names.insert({result.op, result.format, result.shape, result.tokens});
    }
    EXPECT_EQ(names.size(), results.size()) << "a kernel is listed twice";
  }
}

TEST_P(Kernels, ProgressEndsAtItsTotal) {
  KernelOptions options = quick();
  Index last = 0;
  Index all = -1;
  options.progress = [&](Index done, Index total) {
    EXPECT_EQ(done, last + 1);
    last = done;
    all = total;
  };
  measure(GetParam(), ops::Numerics::High, options);
  EXPECT_EQ(last, all);
}

INSTANTIATE_TEST_SUITE_P(Golden,
                         Kernels,
                         ::testing::Values("flash-tiny", "llama-tiny", "llama-tied"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

bool has_op(const std::vector<KernelResult>& results, const std::string& op) {
  return std::any_of(results.begin(), results.end(),
                     [&](const KernelResult& result) { return result.op == op; });
}

TEST_F(Kernels, OpsAreThoseThatTheModelUsesInItsNumerics) {
  const auto high = measure("flash-tiny", ops::Numerics::High, quick());
  for (const char* op :
       {"linear", "expert_linear", "rms_norm", "hyper_connection", "route", "swiglu",
        "combine_experts", "compress_pool", "index_select", "sink_attention"}) {
    EXPECT_TRUE(has_op(high, op)) << op;
  }
  EXPECT_FALSE(has_op(high, "int8_linear"));
  EXPECT_FALSE(has_op(high, "grouped_attention"));
  const auto fast = measure("flash-tiny", ops::Numerics::Fast, quick());
  EXPECT_TRUE(has_op(fast, "expert_int8_linear"));
  EXPECT_FALSE(has_op(fast, "index_select"));
  const auto llama = measure("llama-tiny", ops::Numerics::High, quick());
  EXPECT_TRUE(has_op(llama, "grouped_attention"));
  EXPECT_TRUE(has_op(llama, "swiglu"));
  for (const char* op : {"route", "compress_pool", "index_select", "sink_attention"}) {
    EXPECT_FALSE(has_op(llama, op)) << op;
  }
}

TEST_F(Kernels, OneTokenIsBoundByReadingAndManyByTheProductsOfTheNumerics) {
  for (const auto& [numerics, bound] : {std::pair{ops::Numerics::High, Bound::Fp32},
                                        {ops::Numerics::Official, Bound::Bf16},
                                        {ops::Numerics::Fast, Bound::Int8}}) {
    EXPECT_EQ(product_bound(numerics), bound);
    for (const KernelResult& result : measure("flash-tiny", numerics, quick())) {
      if (result.op == "linear" || result.op == "expert_int8_linear") {
        // What `fast` does not round to int8 is computed in fp32, but for FP8's products.
        const Bound many = numerics != ops::Numerics::Fast || result.op != "linear" ? bound
                           : result.format == "FP8"                                 ? Bound::Bf16
                                                                                    : Bound::Fp32;
        EXPECT_EQ(result.bound, result.tokens == 1 ? Bound::Read : many) << result.op;
      }
    }
  }
}

TEST_F(Kernels, BoundsHaveNames) {
  EXPECT_EQ(to_string(Bound::Read), "read");
  EXPECT_EQ(to_string(Bound::None), "none");
}

}  // namespace
}  // namespace fathom::bench
