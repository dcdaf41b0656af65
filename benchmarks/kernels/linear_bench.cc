// ops::linear at the true shapes of V4-Flash: bytes of weights per second, and their share of what
// reading memory reaches on this machine. Weights are synthetic; speed does not depend on them.
#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "fathom/compute/runtime/runtime.h"

#include "benchmarks/kernels/read_bandwidth.h"

namespace fathom::bench {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;

struct Shape {
  const char* name;
  Index rows;
  Index columns;
};

constexpr auto kShapes = std::to_array<Shape>({
    {"query_up", 32768, 1024},
    {"expert_gate", 2048, 4096},
    {"expert_down", 4096, 2048},
});

struct Storage {
  WeightFormat format;
  ScaleFormat scale_format;
};

constexpr auto kStorages = std::to_array<Storage>({
    {WeightFormat::Fp4, ScaleFormat::E8M0},
    {WeightFormat::Fp8, ScaleFormat::E8M0},
    {WeightFormat::BF16, ScaleFormat::None},
    {WeightFormat::Q8_0, ScaleFormat::None},
    {WeightFormat::Mxfp4, ScaleFormat::None},
    {WeightFormat::Q4_K, ScaleFormat::None},
});

// Far more than the last-level cache, so that every product reads its matrix from memory.
constexpr Index kWorkingSet_bytes = Index{1} << 29;

// Copies of one matrix, used in turn.
class Matrices {
 public:
  Matrices(const Shape& shape, const Storage& storage) {
    const Index stride_bytes = numeric::row_bytes(storage.format, shape.columns);
    const Index scale_stride = shape.columns / scale_columns(storage.format);
    matrix_bytes_ = stride_bytes * shape.rows;
    const Index count = std::max<Index>(2, kWorkingSet_bytes / matrix_bytes_);
    bytes_.resize(to_size(count * matrix_bytes_));
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      bytes_[i] = static_cast<std::byte>(0x30 + i * 7 % 16);  // sane in every format
    }
    scales_.assign(to_size(scale_stride * shape.rows), std::byte{127});
    for (Index idx = 0; idx < count; ++idx) {
      views_.push_back({.format = storage.format,
                        .rows = shape.rows,
                        .columns = shape.columns,
                        .data = bytes_.data() + idx * matrix_bytes_,
                        .row_stride_bytes = stride_bytes,
                        .scale_format = storage.scale_format,
                        .scales = scales_.data(),
                        .scale_row_stride_bytes = scale_stride});
    }
  }

  const numeric::WeightView& next() {
    idx_ = (idx_ + 1) % views_.size();
    return views_[idx_];
  }
  Index matrix_bytes() const { return matrix_bytes_; }

 private:
  static Index scale_columns(WeightFormat format) {
    return format == WeightFormat::Fp8 ? numeric::kFp8TileColumns : numeric::kFp4ScaleColumns;
  }
  Index matrix_bytes_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<std::byte> scales_;
  std::vector<numeric::WeightView> views_;
  std::size_t idx_ = 0;
};

void run_linear(benchmark::State& state,
                runtime::Runtime& runtime,
                double roofline_bytes_per_s,
                const Shape& shape,
                const Storage& storage) {
  const Index num_tokens = state.range(0);
  Matrices matrices(shape, storage);
  const std::vector<float> x(to_size(num_tokens * shape.columns), 0.5F);
  std::vector<float> out(to_size(num_tokens * shape.rows));
  tensor::Arena arena;
  const Index scratch_bytes = ops::linear_scratch_bytes(shape.columns, num_tokens, 1);
  const std::span<std::byte> scratch(arena.allocate(scratch_bytes), to_size(scratch_bytes));
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    runtime.context().f32.linear.run({.weight = matrices.next(),
                                      .x = {x.data(), num_tokens, shape.columns, shape.columns},
                                      .products = ops::Products::Fp32,
                                      .out = {out.data(), num_tokens, shape.rows, shape.rows},
                                      .scratch = scratch},
                                     runtime.pool());
    benchmark::DoNotOptimize(out.data());
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double per_s = static_cast<double>(state.iterations()) / elapsed.count();
  const double bytes_per_s = per_s * static_cast<double>(matrices.matrix_bytes());
  state.counters["GB/s"] = bytes_per_s / 1e9;
  state.counters["%roofline"] = 100 * bytes_per_s / roofline_bytes_per_s;
  state.counters["GFLOP/s"] =
      per_s * 2e-9 * static_cast<double>(num_tokens * shape.rows * shape.columns);
}

void register_all(runtime::Runtime& runtime, double roofline_bytes_per_s) {
  for (const Shape& shape : kShapes) {
    for (const Storage& storage : kStorages) {
      const std::string name =
          std::string("linear/") + shape.name + "/" + std::string(to_string(storage.format));
      benchmark::RegisterBenchmark(
          name.c_str(),
          [&runtime, roofline_bytes_per_s, shape, storage](benchmark::State& state) {
            run_linear(state, runtime, roofline_bytes_per_s, shape, storage);
          })
          ->ArgName("tokens")
          ->Arg(1)
          ->Arg(8)
          ->Arg(64)
          ->MeasureProcessCPUTime()
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  fathom::runtime::Runtime runtime({});
  const double roofline = fathom::bench::read_bandwidth_bytes_per_s(runtime.pool());
  benchmark::AddCustomContext("backend", runtime.backend_name());
  benchmark::AddCustomContext("threads", std::to_string(runtime.pool().num_threads()));
  benchmark::AddCustomContext("roofline_GB/s", std::to_string(roofline / 1e9));
  fathom::bench::register_all(runtime, roofline);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
