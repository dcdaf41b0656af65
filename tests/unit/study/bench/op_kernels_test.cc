#include "fathom/study/bench/op_kernels.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"

namespace fathom::bench {
namespace {

using ops::Numerics;

// What is measured of a golden checkpoint's ops, each run twice.
std::multimap<std::string, KernelResult> measured(const std::string& checkpoint,
                                                  Numerics numerics,
                                                  Index tokens) {
  runtime::Runtime runtime({.num_threads = 2, .numerics = numerics});
  const OpenedModel opened =
      open_model(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/" + checkpoint);
  std::multimap<std::string, KernelResult> results;
  measure_ops(runtime.context(), opened.config.model, tokens, [&](const KernelCase& kernel) {
    EXPECT_GT(kernel.work, 0) << kernel.result.op;
    EXPECT_EQ(kernel.is_bytes, kernel.result.bound == Bound::None) << kernel.result.op;
    const tensor::Arena::Scope scope(runtime.context().arena);
    kernel.run(0);
    kernel.run(1);
    results.emplace(kernel.result.op, kernel.result);
  });
  return results;
}

std::string format_of(const char* checkpoint, Numerics numerics, const char* op) {
  const auto results = measured(checkpoint, numerics, 1);
  const auto found = results.find(op);
  return found == results.end() ? "not measured" : found->second.format;
}

TEST(OpKernels, RowsAreAsTheCacheOfTheNumericsKeepsThem) {
  EXPECT_EQ(format_of("flash-tiny", Numerics::High, "index_select"), "f32");
  EXPECT_EQ(format_of("flash-tiny", Numerics::Fast, "int16_index_select"), "int16_row");
  EXPECT_EQ(format_of("flash-tiny", Numerics::Fast, "sink_attention"), "f32");
  EXPECT_EQ(format_of("llama-tiny", Numerics::High, "grouped_attention"), "f32");
  EXPECT_EQ(format_of("llama-tiny", Numerics::Fast, "grouped_attention"), "bf16");
}

TEST(OpKernels, TheIndexerLooksBackOverTheWholeContext) {
  const auto results = measured("flash-tiny", Numerics::Fast, 3);
  const KernelResult& indexer = results.find("int16_index_select")->second;
  EXPECT_EQ(indexer.shape.substr(indexer.shape.rfind(' ') + 1),
            std::to_string(kContextTokens / 4) + "]");
  EXPECT_EQ(indexer.bound, Bound::Int8);
  EXPECT_EQ(indexer.tokens, 3);
}

TEST(OpKernels, EveryKindOfCompressorIsMeasuredOnce) {
  EXPECT_EQ(measured("flash-tiny", Numerics::High, 1).count("compress_pool"), 2U);
  EXPECT_EQ(measured("llama-tiny", Numerics::High, 1).count("compress_pool"), 0U);
}

}  // namespace
}  // namespace fathom::bench
