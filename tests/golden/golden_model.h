// A golden checkpoint, opened with one backend, and its reference data.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/deepseek_v4/model.h"
#include "fathom/model/kv/sequence_cache.h"

#include "tests/support/tensor_file.h"

namespace fathom::testing {

inline std::filesystem::path golden_folder(const std::string& checkpoint) {
  return std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/golden/checkpoints" / checkpoint;
}

inline const std::vector<std::string>& golden_checkpoints() {
  static const std::vector<std::string> names = {"flash-tiny", "pro-tiny", "bf16-tiny",
                                                 "base-fp8-tiny", "trained-bytes"};
  return names;
}

// What a probe saw, rows of all steps one after another.
struct Observed {
  std::vector<double> values;
  Index columns = 0;
};

class GoldenModel {
 public:
  GoldenModel(const std::string& checkpoint, const std::string& backend, ops::Numerics numerics)
      : runtime_({.num_threads = 2, .backend = backend, .numerics = numerics}),
        opened_(open_model(golden_folder(checkpoint))),
        lm_(build_model(opened_)),
        folder_(golden_folder(checkpoint)) {}

  ops::Context& context() { return runtime_.context(); }
  const layers::CausalLm& lm() const { return *lm_; }
  const deepseek_v4::DeepseekV4& v4() const {
    return dynamic_cast<const deepseek_v4::DeepseekV4&>(*lm_);
  }
  const config::ModelConfig& config() const { return lm_->config(); }
  const weights::Store& store() const { return *opened_.store; }
  const TensorFile& reference() const {
    if (!reference_) {
      reference_.emplace(folder_ / "reference.safetensors");
    }
    return *reference_;
  }
  std::vector<std::int32_t> prompt() const { return reference().read<std::int32_t>("prompt"); }

  kv::SequenceCache cache() { return {lm_->cache_layout(), context().cache_dtype(), {}}; }

  // Logits [T, V] of the tokens in steps of `chunk` (0: one step); MTP logits [T - 1, V] beside.
  std::vector<double> logits(const std::vector<std::int32_t>& tokens,
                             Index chunk,
                             kv::SequenceCache& cache) {
    std::vector<double> all;
    for_each_step(tokens, chunk, cache, [&](const tensor::Tensor& hidden, Index /*first*/) {
      append_values(lm_->logits(context(), hidden), all);
    });
    return all;
  }

  std::vector<double> draft_logits(const std::vector<std::int32_t>& tokens, Index chunk) {
    kv::SequenceCache main = cache();
    kv::SequenceCache draft(lm_->draft()->cache_layout(), context().cache_dtype(), {});
    std::vector<double> all;
    for_each_step(tokens, chunk, main, [&](const tensor::Tensor& hidden, Index first) {
      const Index count = std::min(hidden.dim(0), to_index(tokens.size()) - 1 - first);
      if (count == 0) {
        return;
      }
      const auto next = std::span(tokens).subspan(to_size(first + 1), to_size(count));
      const tensor::Tensor drafted = run_step(
          *lm_->draft(), context(), layers::TokenBatch::single(context().arena, next, draft),
          hidden.slice(0, count));
      append_values(lm_->draft()->logits(context(), drafted), all);
    });
    return all;
  }

  template <typename Use>
  void for_each_step(const std::vector<std::int32_t>& tokens,
                     Index chunk,
                     kv::SequenceCache& cache,
                     const Use& use) {
    const Index total = to_index(tokens.size());
    const Index step = chunk == 0 ? total : chunk;
    for (Index first = 0; first < total; first += step) {
      const tensor::Arena::Scope scope(context().arena);
      const auto part =
          std::span(tokens).subspan(to_size(first), to_size(std::min(step, total - first)));
      const tensor::Tensor hidden =
          run_step(*lm_, context(), layers::TokenBatch::single(context().arena, part, cache));
      use(hidden, first);
    }
  }

  // Collects everything the probe sees until the model is destroyed, by (name, layer).
  void observe() {
    context().probe = [this](std::string_view name, Index layer_idx, const tensor::Tensor& value) {
      Observed& seen = observed_[{std::string(name), layer_idx}];
      const Index columns = value.num_elements() / std::max<Index>(value.dim(0), 1);
      // Selections are as wide as the step needs; pad them to the widest.
      if (columns > seen.columns && seen.columns > 0) {
        widen(seen, columns);
      }
      seen.columns = std::max(seen.columns, columns);
      for (Index row = 0; row < value.dim(0); ++row) {
        append_values(value.slice(row, 1), seen.values);
        seen.values.resize(seen.values.size() + to_size(seen.columns - columns), -1.0);
      }
    };
  }
  const Observed& observed(const std::string& name, Index layer_idx) const {
    return observed_.at({name, layer_idx});
  }

  static void append_values(const tensor::Tensor& tensor, std::vector<double>& out) {
    for (Index i = 0; i < tensor.num_elements(); ++i) {
      switch (tensor.dtype()) {
        case tensor::DType::F32:
          out.push_back(static_cast<double>(tensor.data<float>()[i]));
          break;
        case tensor::DType::F64:
          out.push_back(tensor.data<double>()[i]);
          break;
        case tensor::DType::I32:
          out.push_back(tensor.data<std::int32_t>()[i]);
          break;
        case tensor::DType::BF16:  // rows of a cache, no activations
        case tensor::DType::Int16Row:
          FATHOM_CHECK(false);
      }
    }
  }

 private:
  static void widen(Observed& seen, Index columns) {
    std::vector<double> wide;
    for (std::size_t row = 0; row * to_size(seen.columns) < seen.values.size(); ++row) {
      const auto begin =
          seen.values.begin() + static_cast<std::ptrdiff_t>(row * to_size(seen.columns));
      wide.insert(wide.end(), begin, begin + seen.columns);
      wide.resize(wide.size() + to_size(columns - seen.columns), -1.0);
    }
    seen.values = std::move(wide);
  }

  runtime::Runtime runtime_;
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  std::filesystem::path folder_;
  mutable std::optional<TensorFile> reference_;  // opened when asked for
  std::map<std::pair<std::string, Index>, Observed> observed_;
};

}  // namespace fathom::testing
