#include "fathom/study/plan/bench_record.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/records.h"

namespace fathom::plan {
namespace {

TEST(BenchRecord, IsReadWithConfigStorageAndCells) {
  const BenchRecord record = parse_bench_record(flash_record().dump(), "run.json");
  EXPECT_EQ(config::count_parameters(record.config).total, 284'332'240'471);
  // A byte for each number, as the record says; tables of ids are not in it.
  const config::ParameterCount count = config::count_parameters(record.config);
  const Index bytes = config::weight_bytes(record.config, record.storage.bytes_of).total();
  EXPECT_NEAR(static_cast<double>(bytes),
              static_cast<double>(count.total + count.mtp + 3 * 129280 * 6), 2000);
  ASSERT_EQ(record.cells.size(), 3U);
  EXPECT_TRUE(record.cells[0].is_prefill);
  EXPECT_EQ(record.cells[1].batch, 2);
  EXPECT_EQ(record.cells[1].context, 4096);
  EXPECT_EQ(record.cells[0].meanwhile.read_bytes_per_s, 100e9);
  EXPECT_EQ(record.cells[0].meanwhile.cached_bytes_per_s, 0);  // older records have none
  EXPECT_EQ(record.cells[2].meanwhile.cached_bytes_per_s, 300e9);
  EXPECT_DOUBLE_EQ(record.cells[2].meanwhile.barrier_s, 2e-6);
}

TEST(BenchRecord, WorkOfACellIsOfItsMiddleStepOrOfItsWholePrompt) {
  const BenchRecord record = parse_bench_record(flash_record().dump(), "run.json");
  const ModelWork work(record.config, record.storage);
  const CellWork prompt = work_of_cell(work, record.cells[0]);
  EXPECT_EQ(prompt.seconds, 51.2);
  EXPECT_EQ(prompt.amounts, work.of_prompt(512, 0, 512));
  const CellWork decode = work_of_cell(work, record.cells[1]);
  EXPECT_EQ(decode.seconds, 0.5);
  EXPECT_EQ(decode.amounts, work.of({.num_sequences = 2, .context = 4104, .shared_context = 4096}));
  // At context 0 a run begins behind 64 tokens.
  EXPECT_EQ(work_of_cell(work, record.cells[2]).amounts, work.of({.context = 72}));
}

TEST(BenchRecord, ErrorsNameFileAndKey) {
  const auto refuses = [](const std::string& key, const nlohmann::json& value) {
    nlohmann::json record = flash_record();
    record[key] = value;
    return testing::fails_with(ErrorCode::InvalidArgument, "run.json: " + key,
                               [&] { parse_bench_record(record.dump(), "run.json"); });
  };
  EXPECT_TRUE(refuses("threads", -2));
  EXPECT_TRUE(refuses("model", 7));
  EXPECT_TRUE(refuses("storage", "none"));
  EXPECT_TRUE(refuses("decode", 1));
  nlohmann::json slow = flash_record();
  slow["decode"][1]["barrier_us"] = -1;
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "run.json: barrier_us",
                                  [&] { parse_bench_record(slow.dump(), "run.json"); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "run.json",
                                  [] { parse_bench_record("[]", "run.json"); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "config", [] {
    parse_bench_record(R"({"machine":{"read_gb_s":1}})", "run.json");
  }));
}

}  // namespace
}  // namespace fathom::plan
