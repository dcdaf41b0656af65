#include "fathom/study/plan/memory.h"

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

#include "tests/unit/study/plan/simple_machine.h"

namespace fathom::plan {
namespace {

config::ModelConfig flash() {
  return config::find_builtin_config("v4-flash")->model;
}

TEST(Memory, PartsFollowTheFootprint) {
  const Quantisation gguf = quantisations(flash())[1];
  const MemoryParts parts = memory_parts(
      flash(), gguf.storage, {.num_sequences = 3, .context = 16384, .raw_tokens = 8192});
  EXPECT_EQ(parts.weights_bytes, config::weight_bytes(flash(), gguf.storage.bytes_of).total());
  EXPECT_EQ(parts.cache_bytes, 3 * config::cache_bytes(flash(), 16384, config::kFastCache));
  EXPECT_EQ(parts.raw_rows_bytes,
            3 * 8192 * config::raw_row_bytes_per_token(flash(), config::kFastCache));
  EXPECT_EQ(parts.total(), parts.weights_bytes + parts.cache_bytes + parts.raw_rows_bytes +
                               parts.step_bytes + parts.rounding_bytes + parts.process_bytes);
}

TEST(Memory, HugePagesAreRoundedAroundWhatIsNotInPanels) {
  constexpr Index kHugePage = Index{2} << 20;
  const std::vector<Quantisation> all = quantisations(flash());
  const Quantisation& without_panels = all[6];
  ASSERT_EQ(without_panels.name, "f32");
  // The cache's rows: window and compressed, compressor inputs with and without overlap, and of the
  // indexer inputs and keys.
  EXPECT_EQ(rounding_bytes(flash(), without_panels.storage), 4 * kHugePage);
  EXPECT_EQ(rounding_bytes(flash(), all[1].storage), (4 + 3 * 43) * kHugePage);
  // Not more than lies in panels.
  config::ModelConfig small = flash();
  small.layers.resize(1);
  small.num_experts = 2;
  small.num_experts_per_token = 2;
  small.expert_hidden = 64;
  small.hidden_size = 64;
  small.query_rank = 32;
  small.num_heads = 8;
  small.vocab_size = 64;
  const Storage storage = quantisations(small)[1].storage;
  EXPECT_LT(panel_bytes(small, storage), 3 * kHugePage);
  EXPECT_EQ(rounding_bytes(small, storage), panel_bytes(small, storage) + kHugePage);
}

TEST(Memory, AStepHoldsItsStreamsAndTheLargestOfItsBlocks) {
  const Index one = step_bytes(flash(), 1, 4096);
  EXPECT_EQ(step_bytes(flash(), 512, 4096), 512 * one);
  EXPECT_GT(one, config::raw_row_bytes_per_token(flash(), config::kFastCache));
  // At least the streams and queries with what is attended, in fp32.
  EXPECT_GT(one, 4 * (4 * 4096 + 2 * 64 * 512));
  // The indexer's scores grow with the context.
  EXPECT_GT(step_bytes(flash(), 1, 1048576), one);
}

TEST(Memory, FormatsAddUpToTheWeights) {
  for (const Quantisation& quantisation : quantisations(flash())) {
    Index sum = 0;
    for (const auto& [format, bytes] : weights_by_format(flash(), quantisation.storage)) {
      EXPECT_GT(bytes, 0) << format;
      sum += bytes;
    }
    EXPECT_EQ(sum, config::weight_bytes(flash(), quantisation.storage.bytes_of).total())
        << quantisation.name;
  }
}

TEST(Memory, PanelsTakeWhatProductsReadAsIntegers) {
  const Quantisation gguf = quantisations(flash())[1];
  ASSERT_EQ(gguf.name, "gguf-fp4");
  const auto formats = weights_by_format(flash(), gguf.storage);
  const Index packed = formats.at("MXFP4") + formats.at("Q8_0");
  // All but the embedding, which is looked up: its rows as Q8_0.
  EXPECT_EQ(panel_bytes(flash(), gguf.storage), packed - 129280 * 4096 / 32 * 34);
}

TEST(Memory, DenseModelsHaveNoFormsOfExperts) {
  config::ModelConfig dense = flash();
  dense.num_experts = 0;
  for (const Quantisation& quantisation : quantisations(dense)) {
    EXPECT_EQ(quantisation.name.find("fp4"), std::string::npos);
  }
}

TEST(Memory, FitSaysWithNumbersWhatDoesNotFit) {
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::RamBytes, 100e9);
  MemoryParts parts{.weights_bytes = 80'000'000'000};
  EXPECT_TRUE(fits_in_ram(machine, parts).fits);
  parts.cache_bytes = 16'000'000'000;  // 96 of 95
  const Fit fit = fits_in_ram(machine, parts);
  EXPECT_FALSE(fit.fits);
  EXPECT_EQ(fit.reason, "weights, cache and buffers take 96.0 GB, memory leaves 95.0 GB");
  EXPECT_TRUE(fits_with_experts_on_disk(machine, parts, 70'000'000'000).fits);
  EXPECT_NEAR(resident_share_of_experts(machine, parts, 70'000'000'000), 69.0 / 70, 1e-9);
  EXPECT_EQ(resident_share_of_experts(machine, parts, 0), 1);
}

TEST(Memory, AcceleratorsHoldWhatTheyHaveTogether) {
  Machine machine = simple_machine();
  const MemoryParts parts{.weights_bytes = 160'000'000'000};
  EXPECT_EQ(fits_in_accelerators(machine, parts).reason, "the machine has no accelerators");
  set_figure(machine, FigureKind::Accelerators, 2);
  EXPECT_FALSE(fits_in_accelerators(machine, parts).is_known);
  set_figure(machine, FigureKind::AcceleratorMemoryBytes, 96e9);
  EXPECT_TRUE(fits_in_accelerators(machine, parts).fits);
  set_figure(machine, FigureKind::Accelerators, 1);
  EXPECT_FALSE(fits_in_accelerators(machine, parts).fits);
}

TEST(Memory, UnknownMemoryIsSaidAndNotGuessed) {
  Machine machine = simple_machine();
  std::erase_if(machine.figures,
                [](const Figure& figure) { return figure.kind == FigureKind::RamBytes; });
  EXPECT_FALSE(fits_in_ram(machine, {}).is_known);
}

}  // namespace
}  // namespace fathom::plan
