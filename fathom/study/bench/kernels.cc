#include "fathom/study/bench/kernels.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/reserved_memory.h"
#include "fathom/compute/ops/int8_linear.h"
#include "fathom/compute/ops/linear.h"
#include "fathom/study/bench/measure.h"
#include "fathom/study/bench/op_kernels.h"

namespace fathom::bench {
namespace {

using config::WeightRole;
using numeric::WeightView;
using tensor::Tensor;

constexpr auto kBoundNames = std::to_array<std::pair<Bound, std::string_view>>({
    {Bound::Read, "read"},
    {Bound::Int8, "int8"},
    {Bound::Bf16, "bf16"},
    {Bound::Fp32, "fp32"},
    {Bound::None, "none"},
});

// A kernel slower than this is run once.
constexpr double kLongSeconds = 1;
constexpr int kFewestRuns = 3;

struct GroupKey {
  bool is_experts;
  bool is_head;
  numeric::WeightFormat format;
  Index rows;
  Index columns;
  friend auto operator<=>(const GroupKey&, const GroupKey&) = default;
};

// The matrices of one format and shape: one to a set, or all experts of a layer.
using WeightSets = std::vector<std::vector<WeightView>>;

// In the order of the weight table.
std::vector<std::pair<GroupKey, WeightSets>> collect_groups(const config::ModelConfig& config,
                                                            const weights::Store& store) {
  std::vector<std::pair<GroupKey, WeightSets>> groups;
  for (const config::WeightSpec& spec : config::weight_table(config)) {
    if (!config::is_multiplied(config, spec) || !store.has(spec.key)) {
      continue;
    }
    std::vector<WeightView> set;
    for (Index expert = 0; expert < std::max<Index>(1, spec.num_experts); ++expert) {
      set.push_back(store.matrix(spec.key, expert).view);
    }
    const GroupKey key = {
        spec.num_experts > 0,
        spec.key.role == WeightRole::Head || spec.key.role == WeightRole::Embedding,
        set.front().format, set.front().rows, set.front().columns};
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& group) { return group.first == key; });
    if (found == groups.end()) {
      found = groups.insert(groups.end(), {key, {}});
    }
    found->second.push_back(std::move(set));
  }
  return groups;
}

bool is_in_panels(const WeightView& view) {
  return view.layout == numeric::WeightLayout::Panels;
}

Index data_bytes(const WeightView& view) {
  return is_in_panels(view) ? ceil_div(view.rows, numeric::kPanelRows) * numeric::kPanelRows *
                                  view.row_stride_bytes
                            : view.rows * numeric::row_bytes(view.format, view.columns);
}

Index set_bytes(const std::vector<WeightView>& set) {
  return std::accumulate(set.begin(), set.end(), Index{0},
                         [](Index sum, const WeightView& view) { return sum + data_bytes(view); });
}

// Matrices that together are too many for a cache: the model's own, then copies of them, which lie
// in huge pages as panels do (model/weights/panel_memory.h).
class ColdWeights {
 public:
  ColdWeights(WeightSets sets, Index working_set_bytes) : sets_(std::move(sets)) {
    const std::size_t num_own = sets_.size();
    Index total = 0;
    for (const auto& set : sets_) {
      total += set_bytes(set);
    }
    Index num_copied_bytes = 0;
    for (std::size_t idx = 0; total + num_copied_bytes < working_set_bytes; ++idx) {
      sets_.push_back(sets_[idx % num_own]);
      num_copied_bytes += set_bytes(sets_.back());
    }
    copies_ = platform::ReservedMemory("copies of weights", num_copied_bytes);
    copies_.ask_for_huge_pages();
    std::byte* to = copies_.data();
    for (std::size_t idx = num_own; idx < sets_.size(); ++idx) {
      for (WeightView& view : sets_[idx]) {
        to = move_to(to, view);
      }
    }
  }

  const std::vector<WeightView>& set(Index idx) const { return sets_[to_size(idx) % sets_.size()]; }

 private:
  // Separate scales stay where they are: they are a small part. Returns the end of the copy.
  static std::byte* move_to(std::byte* to, WeightView& view) {
    if (is_in_panels(view)) {
      const std::byte* const from = std::exchange(view.data, to);
      return std::copy_n(from, data_bytes(view), to);
    }
    const Index row_bytes = numeric::row_bytes(view.format, view.columns);
    std::byte* const begin = to;
    for (Index row = 0; row < view.rows; ++row) {
      to = std::copy_n(view.data + row * view.row_stride_bytes, row_bytes, to);
    }
    view.data = begin;
    view.row_stride_bytes = row_bytes;
    return to;
  }

  WeightSets sets_;
  platform::ReservedMemory copies_;
};

class KernelBench {
 public:
  KernelBench(runtime::Runtime& runtime,
              const config::ModelConfig& config,
              const KernelOptions& options)
      : context_(runtime.context()), config_(config), options_(options) {}

  std::vector<KernelResult> run(const weights::Store& store) {
    auto groups = collect_groups(config_, store);
    total_ = to_index(groups.size()) + 1;  // and the ops between the products
    for (auto& [key, sets] : groups) {
      const ColdWeights weights(std::move(sets), options_.working_set_bytes);
      for (const Index tokens : {Index{1}, options_.many_tokens}) {
        if (tokens > 1 && key.is_head) {
          continue;  // a prompt needs the logits of its last token alone
        }
        const tensor::Arena::Scope scope(context_.arena);
        measure(key.is_experts ? expert_case(key, weights, tokens)
                               : linear_case(key, weights, tokens));
      }
      tell();
    }
    for (const Index tokens : {Index{1}, options_.many_tokens}) {
      measure_ops(context_, config_, tokens, [&](const KernelCase& kernel) { measure(kernel); });
    }
    tell();
    return std::move(results_);
  }

 private:
  void tell() {
    ++done_;
    if (options_.progress) {
      options_.progress(done_, total_);
    }
  }

  void measure(const KernelCase& kernel) {
    using Clock = std::chrono::steady_clock;
    const auto run_once = [&](Index idx) {
      const tensor::Arena::Scope scope(context_.arena);
      const auto start = Clock::now();
      kernel.run(idx);
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    const bool has_limit = kernel.result.bound != Bound::None && options_.limit;
    const double limit = has_limit ? options_.limit(kernel.result.bound).value_or(0) : 0;
    std::vector<double> seconds;
    double spent = run_once(0);  // touches what it needs
    if (spent > kLongSeconds) {
      seconds.push_back(spent);
    } else {
      for (spent = 0;
           spent < options_.seconds_per_kernel || to_index(seconds.size()) < kFewestRuns;) {
        seconds.push_back(run_once(to_index(seconds.size()) + 1));
        spent += seconds.back();
      }
    }
    KernelResult result = kernel.result;
    const double rate = kernel.work / median(seconds);
    (kernel.is_bytes ? result.bytes_per_s : result.operations_per_s) = rate;
    if (limit > 0) {
      result.fraction_of_limit = rate / limit;
    }
    results_.push_back(std::move(result));
  }

  Bound bound_of(const WeightView& weight) const {
    if (ops::uses_bf16(context_, weight)) {
      return Bound::Bf16;
    }
    if (context_.numerics == ops::Numerics::Fast && !ops::uses_int8(context_, weight)) {
      return Bound::Fp32;
    }
    return product_bound(context_.numerics);
  }

  KernelCase linear_case(const GroupKey& key, const ColdWeights& weights, Index tokens) {
    const WeightView& first = weights.set(0).front();
    const Tensor x = activations(context_, {tokens, key.columns});
    const bool is_one = tokens == 1;
    return {.result = {.op = ops::uses_int8(context_, first) ? "int8_linear" : "linear",
                       .format = std::string(numeric::to_string(key.format)),
                       .shape = shape_text({key.rows, key.columns}),
                       .tokens = tokens,
                       .bytes_per_s = {},
                       .operations_per_s = {},
                       .bound = is_one ? Bound::Read : bound_of(first),
                       .fraction_of_limit = {}},
            .work = is_one ? static_cast<double>(data_bytes(first))
                           : 2.0 * static_cast<double>(tokens * key.rows * key.columns),
            .is_bytes = is_one,
            .run = [this, x, &weights](Index idx) {
              ops::linear(context_, weights.set(idx).front(), x, ops::Products::Fp32);
            }};
  }

  // Slots spread evenly over the experts; a single token chooses others in every run.
  KernelCase expert_case(const GroupKey& key, const ColdWeights& weights, Index tokens) {
    const Index num_experts = config_.num_experts;
    const Index num_slots = tokens * config_.num_experts_per_token;
    const Tensor x = activations(context_, {tokens, key.columns});
    const WeightView& first = weights.set(0).front();
    const bool is_one = tokens == 1;
    const auto run = [this, x, &weights, num_experts, num_slots, tokens](Index idx) {
      std::vector<std::int32_t> source(to_size(num_slots));
      std::vector<std::int32_t> offsets(to_size(num_experts + 1));
      std::vector<Index> counts(to_size(num_experts));
      for (Index slot = 0; slot < num_slots; ++slot) {
        ++counts[to_size((slot + idx * num_slots) % num_experts)];
        source[to_size(slot)] = static_cast<std::int32_t>(slot % tokens);
      }
      for (std::size_t expert = 0; expert < counts.size(); ++expert) {
        offsets[expert + 1] = offsets[expert] + static_cast<std::int32_t>(counts[expert]);
      }
      ops::expert_linear(context_, weights.set(idx), x, source, offsets, ops::Products::Fp32);
    };
    return {
        .result = {.op = ops::uses_int8(context_, first) ? "expert_int8_linear" : "expert_linear",
                   .format = std::string(numeric::to_string(key.format)),
                   .shape = shape_text({num_experts, key.rows, key.columns}),
                   .tokens = tokens,
                   .bytes_per_s = {},
                   .operations_per_s = {},
                   .bound = is_one ? Bound::Read : bound_of(first),
                   .fraction_of_limit = {}},
        .work = is_one ? static_cast<double>(num_slots * data_bytes(first))
                       : 2.0 * static_cast<double>(num_slots * key.rows * key.columns),
        .is_bytes = is_one,
        .run = run};
  }

  ops::Context& context_;
  const config::ModelConfig& config_;
  const KernelOptions& options_;
  std::vector<KernelResult> results_;
  Index done_ = 0;
  Index total_ = 0;
};

}  // namespace

std::string_view to_string(Bound bound) {
  for (const auto& [value, name] : kBoundNames) {
    if (value == bound) {
      return name;
    }
  }
  return "?";
}

Bound product_bound(ops::Numerics numerics) {
  switch (numerics) {
    case ops::Numerics::High:
      return Bound::Fp32;
    case ops::Numerics::Official:
      return Bound::Bf16;
    case ops::Numerics::Fast:
      return Bound::Int8;
  }
  return Bound::None;
}

std::vector<KernelResult> measure_kernels(runtime::Runtime& runtime,
                                          const config::ModelConfig& config,
                                          const weights::Store& store,
                                          const KernelOptions& options) {
  return KernelBench(runtime, config, options).run(store);
}

}  // namespace fathom::bench
