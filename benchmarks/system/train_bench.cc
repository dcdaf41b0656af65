// How fast gradients of a model are computed: forward and backward through the layers that serve,
// as training does, over sequences of random tokens one after another.
//
// usage: train_bench MODEL THREADS SEQUENCES TOKENS STEPS [keep] [BACKEND]
//   keep  keeps all layers of a sequence instead of computing them again
//
// Operations are counted, not measured: 6 for every number of a matrix that a token is multiplied
// with and that has a gradient (of experts, the chosen ones), and 12 for every dimension of every
// head and row that attention sees. What is computed again on the way back counts for nothing, nor
// does the indexer, whose choice has no gradient, nor an optimiser, which does not run here.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/backends/cpu/machine_peaks.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/kv/whole_sequence_kv.h"

namespace {

using namespace fathom;  // NOLINT(google-build-using-namespace): a program of one file
using platform::Clock;
using platform::seconds_since;

double cpu_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Operations that one thread can do in a second of the processor, at most.
double peak_per_cpu_s() {
  constexpr Index kIterations = Index{1} << 20;
  double best = 0;
  if (const auto loop = cpu::peak_loop(cpu::PeakNumber::Fp32)) {
    for (int pass = 0; pass < 5; ++pass) {
      const double start = cpu_seconds();
      loop->run(kIterations);
      best = std::max(
          best, static_cast<double>(kIterations * loop->operations) / (cpu_seconds() - start));
    }
  }
  return best;
}

// A kernel that adds up its own time. A type of arguments belongs to one entry of the table, so
// each entry has such numbers of its own.
template <typename Args>
struct Timed {
  static inline typename ops::Kernel<Args>::Function original = nullptr;
  static inline double seconds = 0;
  static inline Index calls = 0;

  static void run(const Args& args, platform::ThreadPool& pool) {
    const double start = cpu_seconds();
    original(args, pool);
    seconds += cpu_seconds() - start;
    ++calls;
  }
};

struct OpTime {
  std::string name;
  double* seconds;
  Index* calls;
};

std::vector<OpTime> time_kernels(ops::KernelTable<float>& table) {
  std::vector<OpTime> times;
  const auto wrap = [&]<typename Args>(std::string_view name, ops::Kernel<Args>& kernel) {
    Timed<Args>::original = kernel.run;
    kernel.run = &Timed<Args>::run;
    times.push_back({std::string(name), &Timed<Args>::seconds, &Timed<Args>::calls});
  };
  ops::KernelTable<float>::for_each(table, wrap);
  ops::TrainingKernels<float>::for_each(table.training, wrap);
  return times;
}

// Declares every trained parameter; returns how many numbers of them a token is multiplied with.
class Parameters {
 public:
  explicit Parameters(const OpenedModel& opened) : config_(opened.config.model) {
    const weights::Store& store = *opened.store;
    for (const config::WeightSpec& spec : config::weight_table(config_)) {
      if (!spec.is_trainable || !store.has(spec.key)) {
        continue;
      }
      for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
        const numeric::WeightView& view = store.matrix(spec.key, expert).view;
        const std::span<const float> decoded = store.find_floats(spec.key);
        const void* numbers =
            decoded.empty() ? static_cast<const void*>(view.data) : decoded.data();
        gradients.add(numbers, view.rows, view.columns);
        if (expert == 0) {
          specs_.push_back({spec, numbers});
        }
      }
    }
  }

  double multiplied_per_token() const {
    double count = 0;
    for (const auto& [spec, numbers] : specs_) {
      if (config::is_multiplied(config_, spec) && !gradients.find(numbers).is_empty()) {
        const double share = spec.num_experts == 0
                                 ? 1
                                 : static_cast<double>(config_.num_experts_per_token) /
                                       static_cast<double>(spec.num_experts);
        count += share * static_cast<double>(spec.num_elements());
      }
    }
    return count;
  }

  autograd::ParameterGradients gradients{tensor::DType::F32};

 private:
  struct Declared {
    config::WeightSpec spec;
    const void* numbers;
  };
  const config::ModelConfig& config_;
  std::vector<Declared> specs_;
};

// Rows that the attention of all layers sees in a sequence.
double rows_seen(const config::ModelConfig& config, Index num_tokens) {
  double rows = 0;
  for (const config::LayerConfig& layer : config.layers) {
    for (Index position = 0; position < num_tokens; ++position) {
      if (layer.attention == config::AttentionKind::Grouped) {
        rows += static_cast<double>(position + 1);
        continue;
      }
      const Index blocks = layer.compress_ratio == 0 ? 0 : (position + 1) / layer.compress_ratio;
      const bool is_chosen = layer.attention == config::AttentionKind::CompressedSparse;
      rows += static_cast<double>(std::min(position + 1, config.window) +
                                  (is_chosen ? std::min(blocks, config.index_top_k) : blocks));
    }
  }
  return rows;
}

double run_sequence(const layers::CausalLm& lm,
                    ops::Context& context,
                    std::span<const std::int32_t> tokens,
                    double weight,
                    autograd::ParameterGradients& gradients,
                    autograd::Recomputation recomputation) {
  kv::WholeSequenceKv kv(lm.cache_layout(), context.real);
  const auto inputs = tokens.first(tokens.size() - 1);
  const auto batch = layers::TokenBatch::single(context.arena, inputs, kv);
  autograd::Tape tape(context, gradients, recomputation);
  const tensor::Tensor losses =
      lm.token_losses(context, lm.forward(context, batch), tokens.subspan(1));
  double sum = 0;
  for (Index idx = 0; idx < losses.num_elements(); ++idx) {
    sum += static_cast<double>(losses.data<float>()[idx]) * weight;
  }
  const tensor::Tensor d_losses = tape.of(losses);
  std::fill_n(d_losses.data<float>(), d_losses.num_elements(), static_cast<float>(weight));
  tape.run_backward();
  return sum;
}

void print_times(const std::vector<OpTime>& times, double seconds) {
  std::vector<OpTime> sorted = times;
  std::sort(sorted.begin(), sorted.end(),
            [](const OpTime& a, const OpTime& b) { return *a.seconds > *b.seconds; });
  double inside = 0;
  for (const OpTime& each : sorted) {
    inside += *each.seconds;
    if (*each.calls > 0) {
      std::printf("  %-28s %6.1f %%  %9.2f ms  %lld calls\n", each.name.c_str(),
                  100 * *each.seconds / seconds, 1e3 * *each.seconds,
                  static_cast<long long>(*each.calls));
    }
  }
  std::printf("  %-28s %6.1f %%  %9.2f ms\n", "outside kernels", 100 * (seconds - inside) / seconds,
              1e3 * (seconds - inside));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fprintf(stderr,
                 "usage: train_bench MODEL THREADS SEQUENCES TOKENS STEPS [keep] [BACKEND]\n");
    return 2;
  }
  const Index num_sequences = std::atoll(argv[3]);
  const Index num_tokens = std::atoll(argv[4]);
  const Index num_steps = std::atoll(argv[5]);
  const bool is_kept = argc > 6 && std::strcmp(argv[6], "keep") == 0;
  const int backend_at = is_kept ? 7 : 6;
  runtime::Runtime runtime({.num_threads = std::atoi(argv[2]),
                            .backend = argc > backend_at ? argv[backend_at] : "cpu",
                            .numerics = ops::Numerics::High});
  const OpenedModel opened = open_model(argv[1]);
  opened.store->make_trainable();
  const auto lm = build_model(opened);
  const config::ModelConfig& config = opened.config.model;
  ops::KernelTable<float> table = runtime.context().f32;
  const std::vector<OpTime> times = time_kernels(table);
  ops::Context context{.pool = runtime.pool(),
                       .f32 = table,
                       .f64 = runtime.context().f64,
                       .arena = runtime.context().arena,
                       .num_threads = runtime.context().num_threads,
                       .probe = {}};
  Parameters parameters(opened);
  std::mt19937 random(7);
  std::vector<std::int32_t> tokens(to_size(num_tokens + 1));
  double best_s = 0;
  double best_cpu_s = 0;
  double total_cpu_s = 0;
  for (Index step = 0; step < num_steps; ++step) {
    if (step == 1) {  // the first one also asks for memory
      total_cpu_s = 0;
      for (const OpTime& each : times) {
        *each.seconds = 0;
        *each.calls = 0;
      }
    }
    parameters.gradients.clear();
    const tensor::Arena::Scope scope(context.arena);
    const auto start = Clock::now();
    const double cpu_start = cpu_seconds();
    double loss = 0;
    for (Index sequence = 0; sequence < num_sequences; ++sequence) {
      std::generate(tokens.begin(), tokens.end(), [&] {
        return static_cast<std::int32_t>(random() % static_cast<unsigned>(config.vocab_size));
      });
      const tensor::Arena::Scope sequence_scope(context.arena);
      loss +=
          run_sequence(*lm, context, tokens, 1.0 / static_cast<double>(num_sequences * num_tokens),
                       parameters.gradients,
                       is_kept ? autograd::Recomputation::Off : autograd::Recomputation::Segments);
    }
    const double step_s = seconds_since(start);
    const double cpu_s = cpu_seconds() - cpu_start;
    best_s = step == 0 ? step_s : std::min(best_s, step_s);
    best_cpu_s = step == 0 ? cpu_s : std::min(best_cpu_s, cpu_s);
    total_cpu_s += cpu_s;
    std::printf("step %lld: loss %.6f, %.3f s, %.3f s of the processors\n",
                static_cast<long long>(step), loss, step_s, cpu_s);
    std::fflush(stdout);
  }
  const double multiplied = parameters.multiplied_per_token();
  const double attention = 12 * rows_seen(config, num_tokens) *
                           static_cast<double>(config.num_heads * config.head_dim) /
                           static_cast<double>(num_tokens);
  const double per_token = 6 * multiplied + attention;
  const auto num_step_tokens = static_cast<double>(num_sequences * num_tokens);
  std::printf("%s, %d threads, %s layers: best step %.0f tokens/s, %.0f per CPU second\n",
              runtime.backend_name().c_str(), runtime.pool().num_threads(),
              is_kept ? "kept" : "recomputed", num_step_tokens / best_s,
              num_step_tokens / best_cpu_s);
  std::printf("%.2f M numbers multiplied per token, %.1f MFLOP per token (attention %.1f)\n",
              multiplied / 1e6, per_token / 1e6, attention / 1e6);
  const double rate = per_token * num_step_tokens / best_cpu_s;
  const double peak = peak_per_cpu_s();
  std::printf("%.1f GFLOP per CPU second, %.1f %% of the fp32 peak of %.1f", rate / 1e9,
              100 * rate / peak, peak / 1e9);
  std::printf("\npeak resident memory %.2f GB\n",
              static_cast<double>(platform::peak_resident_bytes().value_or(0)) / 1e9);
  print_times(times, total_cpu_s);
  return 0;
}
