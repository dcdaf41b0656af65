#include "fathom/train/loop/parameters.h"

#include <fnmatch.h>

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::train {
namespace {

using config::WeightRole;
using config::WeightSpec;

bool fits(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool fits_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return fits(pattern, name); });
}

void check_patterns(std::string_view option,
                    const std::vector<std::string>& patterns,
                    const std::vector<std::string>& names) {
  for (const std::string& pattern : patterns) {
    const bool fits_one = std::any_of(names.begin(), names.end(),
                                      [&](const std::string& name) { return fits(pattern, name); });
    if (!fits_one) {
      fail(ErrorCode::InvalidArgument, option, ": no parameter is called like \"", pattern,
           "\"; names are such as \"", names.empty() ? std::string() : names.back(),
           "\", and * stands for any letters");
    }
  }
}

std::span<const float> numbers_of(const tensor::Tensor& gradient) {
  if (gradient.is_empty()) {
    return {};
  }
  FATHOM_CHECK(gradient.dtype() == tensor::DType::F32);
  return {gradient.data<float>(), to_size(gradient.num_elements())};
}

// A trainable matrix of the store, before it is known whether it is trained.
struct Candidate {
  WeightSpec spec;
  Index expert_idx;
};

}  // namespace

optim::Method method_of(const WeightSpec& spec, optim::Method matrices) {
  switch (spec.key.role) {
    case WeightRole::Embedding:
    case WeightRole::Head:
    case WeightRole::CompressorPositionBias:
    case WeightRole::IndexerPositionBias:
      return optim::Method::AdamW;
    default:
      return spec.shape.size() == 1 ? optim::Method::AdamW : matrices;
  }
}

ParameterList::ParameterList(const config::ModelConfig& config,
                             weights::Store& store,
                             const weights::NameMap& names,
                             const ParameterOptions& options) {
  std::vector<Candidate> candidates;
  std::vector<std::string> found_names;
  for (const WeightSpec& spec : config::weight_table(config)) {
    if (!spec.is_trainable || !store.has(spec.key)) {
      continue;
    }
    for (Index expert_idx = 0; expert_idx < std::max<Index>(spec.num_experts, 1); ++expert_idx) {
      candidates.push_back({spec, expert_idx});
      found_names.push_back(names.name(weights::Dialect::Official, spec.key, expert_idx));
    }
  }
  check_patterns("trained", options.trained, found_names);
  check_patterns("frozen", options.frozen, found_names);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    const std::string& name = found_names[i];
    const bool is_chosen = options.trained.empty() || fits_any(options.trained, name);
    if (is_chosen && !fits_any(options.frozen, name)) {
      add(candidate.spec, candidate.expert_idx,
          store.trainable(candidate.spec.key, candidate.expert_idx), name, options);
    }
  }
  if (parameters_.empty()) {
    fail(ErrorCode::InvalidArgument, "frozen: no parameter is left to be trained");
  }
}

void ParameterList::add(const WeightSpec& spec,
                        Index expert_idx,
                        std::span<float> numbers,
                        std::string name,
                        const ParameterOptions& options) {
  const bool is_vector = spec.shape.size() == 1;
  parameters_.push_back({.name = std::move(name),
                         .rows = is_vector ? 1 : spec.shape.front(),
                         .columns = spec.shape.back(),
                         .values = numbers,
                         .method = method_of(spec, options.matrices),
                         .decays = options.vectors_decay || !is_vector});
  origins_.push_back({.key = spec.key, .expert_idx = expert_idx, .numbers = numbers});
  if (spec.num_experts > 0) {
    zeros_.resize(std::max(zeros_.size(), numbers.size()));
  }
}

void ParameterList::set_values(Index idx, std::span<float> values) {
  optim::Parameter& parameter = parameters_[to_size(idx)];
  FATHOM_CHECK(values.size() == parameter.values.size());
  parameter.values = values;
}

void ParameterList::declare(autograd::ParameterGradients& gradients) const {
  for (std::size_t i = 0; i < origins_.size(); ++i) {
    gradients.add(origins_[i].numbers.data(), parameters_[i].rows, parameters_[i].columns);
  }
}

std::vector<std::span<const float>> ParameterList::gradients(
    const autograd::ParameterGradients& gradients) const {
  std::vector<std::span<const float>> spans(origins_.size());
  for (std::size_t first = 0; first < origins_.size();) {
    std::size_t last = first;
    bool is_reached = false;
    for (; last < origins_.size() && origins_[last].key == origins_[first].key; ++last) {
      spans[last] = numbers_of(gradients.find(origins_[last].numbers.data()));
      is_reached = is_reached || !spans[last].empty();
    }
    for (; first < last; ++first) {
      if (is_reached && spans[first].empty()) {
        spans[first] = std::span(zeros_).first(origins_[first].numbers.size());
      }
    }
  }
  return spans;
}

Index ParameterList::num_numbers() const {
  Index count = 0;
  for (const optim::Parameter& parameter : parameters_) {
    count += to_index(parameter.values.size());
  }
  return count;
}

}  // namespace fathom::train
