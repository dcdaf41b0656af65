#include "fathom/study/plan/check.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/records.h"
#include "tests/unit/study/plan/simple_machine.h"

namespace fathom::plan {
namespace {

std::vector<BenchRecord> one_record() {
  return {parse_bench_record(flash_record().dump(), "run.json")};
}

TEST(Check, ARunThatTookWhatIsPredictedHasNoError) {
  std::vector<BenchRecord> records = one_record();
  Machine machine = simple_machine();
  set_figure(machine, FigureKind::SpeedError, 0.1);
  const CheckResult first = check_records(machine, records);
  ASSERT_EQ(first.cells.size(), 3U);
  for (std::size_t idx = 0; idx < 3; ++idx) {
    records[0].cells[idx].tokens_per_s = first.cells[idx].predicted.p50;
  }
  const CheckResult again = check_records(machine, records);
  EXPECT_NEAR(accuracy_of(again.cells).median_error, 0, 1e-12);
  EXPECT_EQ(accuracy_of(again.cells).coverage, 1);
  // Half as fast: an error of +100 %, outside of any interval of 10 %.
  for (MeasuredCell& cell : records[0].cells) {
    cell.tokens_per_s /= 2;
  }
  const CheckResult slow = check_records(machine, records);
  EXPECT_NEAR(accuracy_of(slow.cells).median_error, 1, 1e-12);
  EXPECT_EQ(accuracy_of(slow.cells).coverage, 0);
  EXPECT_EQ(accuracy_of(slow.cells).num_points, 3);
}

TEST(Check, ARunIsComparedWithTheMachineOfItsMoment) {
  std::vector<BenchRecord> records = one_record();
  const double whole = check_records(simple_machine(), records).cells[0].predicted.p50;
  for (MeasuredCell& cell : records[0].cells) {
    cell.meanwhile.read_bytes_per_s /= 2;
  }
  // But for a little work of one thread, which no limit makes slower.
  EXPECT_NEAR(check_records(simple_machine(), records).cells[0].predicted.p50, whole / 2,
              1e-4 * whole);
  records[0].cells[0].meanwhile.read_bytes_per_s = 0;  // not known: as in the profile
  EXPECT_DOUBLE_EQ(check_records(simple_machine(), records).cells[0].predicted.p50, whole);
}

TEST(Check, BeforehandOnlyTheProfileIsKnown) {
  std::vector<BenchRecord> records = one_record();
  const auto beforehand = [&] {
    return check_records(simple_machine(), records, Against::ProfileAlone).cells[0].predicted.p50;
  };
  const double whole = beforehand();
  for (MeasuredCell& cell : records[0].cells) {
    cell.meanwhile.read_bytes_per_s /= 2;
  }
  EXPECT_EQ(beforehand(), whole);
  EXPECT_LT(check_records(simple_machine(), records).cells[0].predicted.p50, 0.6 * whole);
}

TEST(Check, PeakMemoryHoldsWeightsCachesAndBuffers) {
  const std::vector<BenchRecord> records = one_record();
  const CheckResult result = check_records(simple_machine(), records);
  ASSERT_EQ(result.memories.size(), 1U);
  const config::ModelConfig& flash = records[0].config;
  const Index weights = config::weight_bytes(flash, records[0].storage.bytes_of).total();
  const Index caches = config::cache_bytes(flash, 4096, config::kFastCache) +
                       config::cache_bytes(flash, 64, config::kFastCache);
  EXPECT_GT(result.memories[0].predicted_bytes, weights + caches);
  EXPECT_NEAR(result.memories[0].error(),
              static_cast<double>(result.memories[0].predicted_bytes) / 300e9 - 1, 1e-12);
}

TEST(Check, OtherNumericsAndThreadsAreRefused) {
  std::vector<BenchRecord> records = one_record();
  records[0].numerics = "high";
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "numerics",
                                  [&] { check_records(simple_machine(), records); }));
  records[0].numerics = "fast";
  records[0].num_threads = 3;
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "threads",
                                  [&] { check_records(simple_machine(), records); }));
}

}  // namespace
}  // namespace fathom::plan
