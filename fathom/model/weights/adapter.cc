#include "fathom/model/weights/adapter.h"

#include <cmath>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/synth_values.h"

namespace fathom::weights {
namespace {

numeric::WeightView view_of(const std::vector<float>& numbers, Index rows, Index columns) {
  numeric::WeightView view;
  view.rows = rows;
  view.columns = columns;
  view.data = reinterpret_cast<const std::byte*>(numbers.data());
  view.row_stride_bytes = columns * to_index(sizeof(float));
  return view;
}

Adapter::Target make_target(const config::WeightSpec& spec,
                            Index expert_idx,
                            Index rank,
                            const NewAdapterOptions& options) {
  Adapter::Target target = {.rows = spec.shape.front(),
                            .columns = spec.shape.back(),
                            .rank = rank,
                            .alpha = options.scale * static_cast<double>(rank),
                            .scale = options.scale,
                            .a = {},
                            .b = {}};
  target.a.resize(to_size(rank * target.columns));
  target.b.resize(to_size(target.rows * rank));
  const std::string name =
      std::string(to_string(spec.key.role)) + "." + std::to_string(spec.key.layer_idx) + ".lora_a";
  const auto width = 2 / std::sqrt(static_cast<float>(target.columns));
  fill_weights({.format = numeric::WeightFormat::F32,
                .rows = rank,
                .columns = target.columns,
                .data = reinterpret_cast<std::byte*>(target.a.data())},
               {.kind = Distribution::Kind::Uniform, .centre = 0, .spread = width},
               block_key(options.seed, name, expert_idx));
  return target;
}

}  // namespace

LowRank Adapter::Target::low_rank() const {
  return {.a = view_of(a, rank, columns), .b = view_of(b, rows, rank), .scale = scale};
}

Adapter::Target& Adapter::add(const Key& key, Target&& target) {
  FATHOM_CHECK(to_index(target.a.size()) == target.rank * target.columns &&
               to_index(target.b.size()) == target.rows * target.rank);
  const auto [at, is_added] = targets_.try_emplace(key, std::move(target));
  FATHOM_CHECK(is_added);
  return at->second;
}

const Adapter::Target* Adapter::find(const Key& key) const {
  const auto at = targets_.find(key);
  return at == targets_.end() ? nullptr : &at->second;
}

Index Adapter::num_parameters() const {
  Index count = 0;
  for (const auto& [key, target] : targets_) {
    count += to_index(target.a.size() + target.b.size());
  }
  return count;
}

std::shared_ptr<Adapter> make_adapter(const config::ModelConfig& config,
                                      const NewAdapterOptions& options) {
  auto adapter = std::make_shared<Adapter>();
  for (const config::WeightSpec& spec : config::weight_table(config)) {
    for (const config::AdapterRank& wish : options.ranks) {
      if (spec.key.role != wish.role || spec.key.block != config::Block::Layer) {
        continue;
      }
      for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
        adapter->add({spec.key, expert}, make_target(spec, expert, wish.rank, options));
      }
    }
  }
  return adapter;
}

}  // namespace fathom::weights
