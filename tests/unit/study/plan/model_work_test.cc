#include "fathom/study/plan/model_work.h"

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

namespace fathom::plan {
namespace {

ModelWork work_of(const char* name, const char* storage) {
  return {config::find_builtin_config(name)->model,
          storage_by_plan(config::storage_plan_from_name(storage))};
}

double weight_bytes(const Amounts& amounts) {
  return at(amounts, Work::PackedBytes) + at(amounts, Work::PlainBytes) +
         at(amounts, Work::CodedBytes);
}

double packed_ops(const Amounts& amounts) {
  return at(amounts, Work::PackedFewOps) + at(amounts, Work::PackedManyOps);
}

double product_ops(const Amounts& amounts) {
  return packed_ops(amounts) + at(amounts, Work::WideFewOps) + at(amounts, Work::WideManyOps);
}

TEST(ModelWork, BytesOfFlashAtNativeFormatsAreThoseOfAnEnumerationOverItsTensors) {
  // From the table of specification 2.1 alone: what one token reads, the routed experts' six, no
  // embedding, no tables of ids, no position biases, no MTP.
  const double d = 4096;
  const double qr = 1024;
  const double heads = 64 * 512;
  const auto fp8 = [](double rows, double columns) {
    return rows * columns + rows / 128 * columns / 128;
  };
  const auto fp4 = [](double rows, double columns) { return rows * columns * (0.5 + 1.0 / 32); };
  const double attention = fp8(qr, d) + fp8(heads, qr) + fp8(512, d) + fp8(8192, 4096) +
                           fp8(d, 8192) + 2 * (qr + 512) + 4 * 64;
  const double csa =
      2 * (2 * 1024 * d + 512) + fp8(64 * 128, qr) + 2 * (64 * d + 2 * 256 * d + 128);
  const double hca = 2 * (2 * 512 * d + 512);
  const double mixing = 2 * 4 * (24 * 4 * d + 24 + 3) + 2 * 2 * d;
  const double shared = 3 * fp8(2048, d);
  const double routed = 6 * 3 * fp4(2048, d);
  const double router = 2 * 256 * d;
  const double biases = 40 * 4 * 256;
  const double head = 2 * 129280 * d + 4 * (4 * 4 * d + 4 + 1) + 2 * d;
  const double enumerated =
      43 * (attention + mixing + shared + routed + router) + 21 * csa + 20 * hca + biases + head;
  const double counted = weight_bytes(work_of("v4-flash", "fp4").of({.context = 4096}));
  EXPECT_LE(std::abs(counted / enumerated - 1), 0.001);
  // Specification 5.4 says about 11.2 GB.
  EXPECT_LE(std::abs(counted / 11.2e9 - 1), 0.01);
}

TEST(ModelWork, OperationsOfFlashAreThoseOfTheSpecification) {
  // Specification 5.2: 26.54 G of linears; at 32K 2.84 G of index scores and 1.76 + 1.01 + 0.03 G
  // of attention, at 1M 90.90 G and 23.60 G.
  const ModelWork work = work_of("v4-flash", "fp4");
  const Amounts at_32k = work.of({.context = 32767});
  const double linears = product_ops(at_32k);
  EXPECT_LE(std::abs(linears / 26.54e9 - 1), 0.002);
  EXPECT_LE(std::abs(at(at_32k, Work::IndexOps) / 2.84e9 - 1), 0.01);
  EXPECT_LE(std::abs(at(at_32k, Work::TokenSharedOps) / 2.80e9 - 1), 0.01);
  const Amounts at_1m = work.of({.context = 1048575});
  EXPECT_LE(std::abs(at(at_1m, Work::IndexOps) / 90.90e9 - 1), 0.01);
  EXPECT_LE(std::abs(at(at_1m, Work::TokenSharedOps) / 23.60e9 - 1), 0.01);
}

TEST(ModelWork, ExpertsOfABatchAreTheirExpectedUnion) {
  EXPECT_DOUBLE_EQ(expected_experts(256, 6, 1), 6);
  // Two tokens: 12 less the pairs that coincide, 36 / 256 of them.
  EXPECT_NEAR(expected_experts(256, 6, 2), 12 - 36.0 / 256, 1e-9);
  EXPECT_NEAR(expected_experts(256, 6, 1e6), 256, 1e-9);
  EXPECT_EQ(expected_experts(0, 0, 5), 0);
}

TEST(ModelWork, ABatchReadsDenseWeightsOnce) {
  const ModelWork work = work_of("v4-flash", "fp4");
  const double one = weight_bytes(work.of({.context = 100}));
  const double two = weight_bytes(work.of({.num_sequences = 2, .context = 100}));
  EXPECT_GT(two, one);
  EXPECT_LT(two, 1.4 * one);
  EXPECT_DOUBLE_EQ(packed_ops(work.of({.num_sequences = 2, .context = 100})),
                   2 * packed_ops(work.of({.context = 100})));
}

TEST(ModelWork, RowsThatSequencesShareAreReadOnce) {
  const ModelWork flash = work_of("v4-flash", "fp4");
  const auto cache_bytes = [&](Index sequences, Index context, Index shared) {
    return at(flash.of({.num_sequences = sequences, .context = context, .shared_context = shared}),
              Work::CacheBytes);
  };
  const double alone = cache_bytes(1, 4096, 0);
  EXPECT_DOUBLE_EQ(alone, flash.cache_bytes_read(4096));
  EXPECT_DOUBLE_EQ(cache_bytes(4, 4096, 0), 4 * alone);
  // A token each beyond what they have in common.
  const double shared = cache_bytes(4, 4096, 4096);
  EXPECT_GE(shared, alone);
  EXPECT_LT(shared, 1.01 * alone);
  EXPECT_DOUBLE_EQ(cache_bytes(4, 8192, 4096),
                   4 * flash.cache_bytes_read(8192) - 3 * flash.cache_bytes_read(4095));
}

TEST(ModelWork, AStepAtATimeReadsWeightsForEachStep) {
  const ModelWork work = work_of("v4-flash", "fp4");
  const Amounts whole = work.of_prompt(1024, 0, 1024);
  const Amounts halves = work.of_prompt(1024, 0, 512);
  EXPECT_GT(weight_bytes(halves), 1.5 * weight_bytes(whole));
  EXPECT_NEAR(packed_ops(halves) / packed_ops(whole), 1, 1e-9);
}

TEST(ModelWork, ProductsOfAMatrixWithFewTokensAreCountedApart) {
  const ModelWork work = work_of("v4-flash", "fp4");
  EXPECT_EQ(at(work.of({.context = 100}), Work::PackedManyOps), 0);
  // 64 tokens: dense weights, FP8, have many; each of the experts, FP4, two.
  const Amounts batch = work.of({.num_sequences = 64, .context = 100});
  EXPECT_EQ(at(batch, Work::PackedManyOps), 0);
  EXPECT_GT(at(batch, Work::PackedFewOps), 0);
  EXPECT_GT(at(batch, Work::WideManyOps), 0);
  EXPECT_EQ(at(batch, Work::WideFewOps), 0);
  // 512: 12 for each expert.
  EXPECT_EQ(at(work.of({.tokens_per_sequence = 512}), Work::PackedFewOps), 0);
}

TEST(ModelWork, DraftingTakesTheMtpBlockAndTheHead) {
  const ModelWork work = work_of("v4-flash", "fp4");
  const Amounts draft = work.of_draft(1);
  // 2 x (attention + six experts and the shared one + projections + head), specification 5.1, 5.2.
  const double ops = product_ops(draft);
  EXPECT_LE(std::abs(ops / (0.64e9 + 2 * 529530880.0) - 1), 0.05);
}

TEST(ModelWork, NamesOfWorkAreFoundAgain) {
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    EXPECT_EQ(find_work(to_string(static_cast<Work>(idx))), static_cast<Work>(idx));
  }
  EXPECT_FALSE(find_work("idling"));
}

}  // namespace
}  // namespace fathom::plan
