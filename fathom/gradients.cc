#include "fathom/gradients.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>

#include "fathom/base/core/error.h"
#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/model/kv/whole_sequence_kv.h"

namespace fathom {
namespace {

std::vector<std::int32_t> check_ids(std::span<const std::int64_t> ids,
                                    const config::ModelConfig& config) {
  const Index count = to_index(ids.size());
  if (count < 2 || count > config.max_context) {
    fail(ErrorCode::InvalidArgument, "tokens: ", count, ", expected 2 to ", config.max_context,
         " (one to go on from, one to predict; the model's context)");
  }
  std::vector<std::int32_t> tokens;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= config.vocab_size) {
      fail(ErrorCode::InvalidArgument, "tokens: position ", tokens.size(), ": token id ", id,
           ", expected 0 to ", config.vocab_size - 1, " (vocabulary of ", config.vocab_size, ")");
    }
    tokens.push_back(static_cast<std::int32_t>(id));
  }
  return tokens;
}

ops::Numerics numerics_of(const GradientOptions& options) {
  const auto numerics = ops::numerics_from_name(options.numerics);
  if (!numerics) {
    fail(ErrorCode::InvalidArgument, "numerics: found \"", options.numerics,
         "\", expected high or official");
  }
  if (*numerics == ops::Numerics::Fast) {
    fail(ErrorCode::Unsupported,
         "numerics: fast multiplies int8 blocks, which have no gradients; expected high or "
         "official");
  }
  return *numerics;
}

// A part of a tensor of the checkpoint: all of it, an expert, or a gate of gates and ups in turn.
struct Part {
  const std::byte* stored;  // where it is in the file
  const void* numbers;      // what its layer works with
  Index rows;
  Index columns;
};

// The trained parameters of a model whose layers are built, and their gradients.
class Parameters {
 public:
  Parameters(const OpenedModel& opened, tensor::DType real)
      : store_(*opened.store), gradients_(real) {
    for (const config::WeightSpec& spec : config::weight_table(opened.config.model)) {
      for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
        if (spec.is_trainable && store_.has(spec.key)) {
          add(spec.key, expert);
        }
      }
    }
  }

  autograd::ParameterGradients& gradients() { return gradients_; }

  std::vector<TensorGradient> by_name() {
    std::vector<TensorGradient> tensors;
    for (auto& [name, parts] : parts_) {
      const bool has_gradient = std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
        return !gradients_.find(part.numbers).is_empty();
      });
      if (has_gradient) {
        std::sort(parts.begin(), parts.end(),
                  [](const Part& a, const Part& b) { return a.stored < b.stored; });
        tensors.push_back(gather(name, parts));
      }
    }
    return tensors;
  }

 private:
  void add(const config::WeightKey& key, Index expert) {
    const weights::NamedView& named = store_.matrix(key, expert);
    const numeric::WeightView& view = named.view;
    const std::span<const float> decoded = store_.find_floats(key);
    const void* numbers = decoded.empty() ? static_cast<const void*>(view.data) : decoded.data();
    parts_[named.name].push_back({view.data, numbers, view.rows, view.columns});
    gradients_.add(numbers, view.rows, view.columns);
  }

  TensorGradient gather(const std::string& name, const std::vector<Part>& parts) const {
    const weights::StoredTensor* stored = store_.checkpoint().find(name);
    FATHOM_CHECK(stored != nullptr && !stored->shape.empty());
    TensorGradient result;
    result.name = name;
    result.shape = stored->shape;
    if (result.shape.size() > 1) {
      result.shape.back() = parts.front().columns;  // in a file two FP4 numbers share a byte
    }
    for (const Part& part : parts) {
      append(part, result.values);
    }
    const Index count =
        std::accumulate(result.shape.begin(), result.shape.end(), Index{1}, std::multiplies<>());
    FATHOM_CHECK(count == to_index(result.values.size()));
    return result;
  }

  // The part's gradient; zeros where another part of the tensor has one and this has none.
  void append(const Part& part, std::vector<float>& values) const {
    const tensor::Tensor gradient = gradients_.find(part.numbers);
    const Index count = part.rows * part.columns;
    if (gradient.is_empty()) {
      values.insert(values.end(), to_size(count), 0.0F);
    } else if (gradient.dtype() == tensor::DType::F64) {
      std::transform(gradient.data<double>(), gradient.data<double>() + count,
                     std::back_inserter(values),
                     [](double value) { return static_cast<float>(value); });
    } else {
      values.insert(values.end(), gradient.data<float>(), gradient.data<float>() + count);
    }
  }

  const weights::Store& store_;
  autograd::ParameterGradients gradients_;
  std::map<std::string, std::vector<Part>> parts_;
};

double mean_of(const tensor::Tensor& losses) {
  double sum = 0;
  for (Index i = 0; i < losses.num_elements(); ++i) {
    sum += losses.dtype() == tensor::DType::F64 ? losses.data<double>()[i]
                                                : static_cast<double>(losses.data<float>()[i]);
  }
  return sum / static_cast<double>(losses.num_elements());
}

void fill(const tensor::Tensor& tensor, double value) {
  if (tensor.dtype() == tensor::DType::F64) {
    std::fill_n(tensor.data<double>(), tensor.num_elements(), value);
  } else {
    std::fill_n(tensor.data<float>(), tensor.num_elements(), static_cast<float>(value));
  }
}

}  // namespace

LossGradients compute_gradients(const std::string& path,
                                std::span<const std::int64_t> ids,
                                const GradientOptions& options) {
  runtime::Runtime runtime({.num_threads = options.num_threads,
                            .backend = options.backend,
                            .numerics = numerics_of(options)});
  const OpenedModel opened = open_model(path);
  check_numerics(opened.config.model.family, runtime.context().numerics);
  const std::vector<std::int32_t> tokens = check_ids(ids, opened.config.model);
  const std::unique_ptr<layers::CausalLm> lm = build_model(opened);
  ops::Context& context = runtime.context();
  Parameters parameters(opened, context.real);
  kv::WholeSequenceKv kv(lm->cache_layout(), context.real);
  LossGradients result;
  result.backend = runtime.backend_name();
  {
    const auto batch = layers::TokenBatch::single(context.arena, tokens, kv);
    autograd::Tape tape(
        context, parameters.gradients(),
        options.recompute ? autograd::Recomputation::Segments : autograd::Recomputation::Off);
    const tensor::Tensor hidden = lm->forward(context, batch);
    // The last token has nothing to predict.
    const Index num_losses = to_index(tokens.size()) - 1;
    const tensor::Tensor losses =
        lm->token_losses(context, hidden.slice(0, num_losses), std::span(tokens).subspan(1));
    result.loss = mean_of(losses);
    fill(tape.of(losses), 1.0 / static_cast<double>(num_losses));
    tape.run_backward();
  }
  result.tensors = parameters.by_name();
  return result;
}

}  // namespace fathom
