// Products of a training step at the shapes of `fathom synth --preset mini` and of larger models:
// operations per second, and their share of the fp32 peak of this machine. Both are measured in
// processor time, in which other programs do not show, and the best run counts. Threads that wait
// for others use processor time too. Numbers are synthetic.
//
// usage: training_bench [THREADS [BACKEND]]
#include <algorithm>
#include <array>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "fathom/compute/backends/cpu/machine_peaks.h"
#include "fathom/compute/runtime/runtime.h"

namespace fathom::bench {
namespace {

constexpr Index kTokens = 2048;

// A product of `tokens` rows with each of `num_matrices` matrices' share of slots.
struct Shape {
  const char* name;
  Index rows;
  Index columns;
  Index num_slots = kTokens;
  Index num_matrices = 1;  // more than one: experts
  bool has_source = false;
};

constexpr auto kShapes = std::to_array<Shape>({
    {"query_down", 128, 384},
    {"query_up", 768, 128},
    {"output_up", 384, 256},
    {"compressor", 256, 384},
    {"head_128_rows", 8192, 384, 128},
    {"head_512_rows", 8192, 384, 512},
    {"experts_gate", 128, 384, 3 * kTokens, 16, true},
    {"experts_down", 384, 128, 3 * kTokens, 16},
    {"large", 2048, 1024},
    {"deep", 1024, 4096},
});

std::vector<float> numbers(Index count) {
  std::vector<float> values(to_size(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7 % 64) / 64.0F - 0.5F;
  }
  return values;
}

// Operands of one shape: every slot's row of x is another one, in no order.
struct Operands {
  explicit Operands(const Shape& shape)
      : x(numbers(kTokens * 3 * shape.columns)),
        d_x(x),
        out(numbers(shape.num_slots * shape.rows)),
        weights(numbers(shape.num_matrices * shape.rows * shape.columns)),
        d_weights(weights) {
    const Index matrix = shape.rows * shape.columns;
    for (Index idx = 0; idx < shape.num_matrices; ++idx) {
      views.push_back({.rows = shape.rows,
                       .columns = shape.columns,
                       .data = reinterpret_cast<const std::byte*>(weights.data() + idx * matrix),
                       .row_stride_bytes = 4 * shape.columns});
      d_views.push_back(
          {d_weights.data() + idx * matrix, shape.rows, shape.columns, shape.columns});
    }
    for (Index idx = 0; idx <= shape.num_matrices; ++idx) {
      offsets.push_back(static_cast<std::int32_t>(shape.num_slots * idx / shape.num_matrices));
    }
    for (Index slot = 0; shape.has_source && slot < shape.num_slots; ++slot) {
      source.push_back(static_cast<std::int32_t>(slot * 1237 % kTokens));
    }
    const Index num_bytes =
        ops::linear_scratch_bytes(shape.columns, shape.num_slots, shape.num_matrices);
    scratch = {arena.allocate(num_bytes), to_size(num_bytes)};
  }

  tensor::Arena arena;
  std::vector<float> x;
  std::vector<float> d_x;
  std::vector<float> out;
  std::vector<float> weights;
  std::vector<float> d_weights;
  std::vector<numeric::WeightView> views;
  std::vector<tensor::MatrixView<float>> d_views;
  std::vector<std::int32_t> offsets;
  std::vector<std::int32_t> source;
  std::span<std::byte> scratch;
};

double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Operations per second of all threads in loops of nothing else.
double measure_peak(platform::ThreadPool& pool) {
  constexpr Index kIterations = 1 << 18;
  const auto loop = cpu::peak_loop(cpu::PeakNumber::Fp32);
  double best_s = 1e9;
  for (int pass = 0; loop && pass < 30; ++pass) {
    const double start = processor_s();
    pool.parallel_for(pool.num_threads(), [&](Index, int) { loop->run(kIterations); });
    best_s = std::min(best_s, processor_s() - start);
  }
  const Index num_threads = pool.num_threads();
  const double operations = static_cast<double>(loop ? loop->operations * kIterations : 0);
  return operations * static_cast<double>(num_threads * num_threads) / best_s;
}

struct Machine {
  runtime::Runtime& runtime;
  double peak_per_s;
};

// Times `run`, which does so many multiplications and as many additions.
void measure(benchmark::State& state,
             const Machine& machine,
             Index products,
             const std::function<void()>& run) {
  double best_s = 1e9;
  for (auto _ : state) {
    const double start = processor_s();
    run();
    best_s = std::min(best_s, processor_s() - start);
  }
  const double per_s =
      2 * static_cast<double>(products) * machine.runtime.pool().num_threads() / best_s;
  state.counters["GFLOP/s"] = per_s / 1e9;
  state.counters["%peak"] = 100 * per_s / machine.peak_per_s;
}

void run_forward(benchmark::State& state, const Machine& machine, const Shape& shape) {
  Operands operands(shape);
  const auto& kernels = machine.runtime.context().f32;
  const tensor::MatrixView<const float> x = {operands.x.data(), shape.num_slots, shape.columns,
                                             shape.columns};
  const tensor::MatrixView<float> out = {operands.out.data(), shape.num_slots, shape.rows,
                                         shape.rows};
  measure(state, machine, shape.num_slots * shape.rows * shape.columns, [&] {
    if (shape.num_matrices > 1) {
      kernels.expert_linear.run({.weights = operands.views,
                                 .x = x,
                                 .source = operands.source,
                                 .offsets = operands.offsets,
                                 .products = ops::Products::Fp32,
                                 .out = out,
                                 .scratch = operands.scratch},
                                machine.runtime.pool());
    } else {
      kernels.linear.run({.weight = operands.views.front(),
                          .x = x,
                          .products = ops::Products::Fp32,
                          .out = out,
                          .scratch = operands.scratch},
                         machine.runtime.pool());
    }
  });
}

// d_x, and d_W where the weight is trained.
void run_backward(benchmark::State& state,
                  const Machine& machine,
                  const Shape& shape,
                  bool is_trained,
                  ops::Rounding rounding = ops::Rounding::None) {
  Operands operands(shape);
  if (!is_trained) {
    std::fill(operands.d_views.begin(), operands.d_views.end(), tensor::MatrixView<float>{});
  }
  const tensor::MatrixView<float> x = {operands.x.data(), shape.num_slots, shape.columns,
                                       shape.columns};
  const tensor::MatrixView<float> d_x = {operands.d_x.data(), shape.num_slots, shape.columns,
                                         shape.columns};
  const tensor::MatrixView<float> d_out = {operands.out.data(), shape.num_slots, shape.rows,
                                           shape.rows};
  const Index products = (is_trained ? 2 : 1) * shape.num_slots * shape.rows * shape.columns;
  measure(state, machine, products, [&] {
    machine.runtime.context().f32.training.expert_linear_backward.run(
        {.weights = operands.views,
         .x = x,
         .source = operands.source,
         .offsets = operands.offsets,
         .d_out = d_out,
         .d_x = d_x,
         .d_weights = operands.d_views,
         .operands = rounding},
        machine.runtime.pool());
  });
}

void register_all(const Machine& machine) {
  const auto add = [](const std::string& name, const auto& body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (const Shape& shape : kShapes) {
    add(std::string("forward/") + shape.name,
        [machine, shape](auto& state) { run_forward(state, machine, shape); });
    add(std::string("backward/") + shape.name,
        [machine, shape](auto& state) { run_backward(state, machine, shape, true); });
    add(std::string("backward_bf16/") + shape.name, [machine, shape](auto& state) {
      run_backward(state, machine, shape, true, ops::Rounding::Bf16);
    });
    add(std::string("backward_frozen/") + shape.name,
        [machine, shape](auto& state) { run_backward(state, machine, shape, false); });
  }
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
    benchmark::ReportUnrecognizedArguments(argc, argv);
    return 2;
  }
  fathom::runtime::RuntimeOptions options;
  options.num_threads = argc > 1 ? std::stoi(argv[1]) : 0;
  options.backend = argc > 2 ? argv[2] : "cpu";
  fathom::runtime::Runtime runtime(options);
  const double peak_per_s = fathom::bench::measure_peak(runtime.pool());
  benchmark::AddCustomContext("backend", runtime.backend_name());
  benchmark::AddCustomContext("threads", std::to_string(runtime.pool().num_threads()));
  benchmark::AddCustomContext("fp32_peak_GFLOP/s", std::to_string(peak_per_s / 1e9));
  fathom::bench::register_all({runtime, peak_per_s});
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
