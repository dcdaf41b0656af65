// What every op needs besides its operands: kernels, threads, step memory and the chosen numerics.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "fathom/compute/ops/numerics.h"
#include "fathom/compute/tensor/tensor.h"

namespace fathom::platform {
class ThreadPool;
}

namespace fathom::ops {

template <typename Real>
struct KernelTable;

class Recorder;
struct TrainingTerms;

// Sees intermediate results: tests and debugging. Called from the thread that runs the step.
using Probe = std::function<void(std::string_view name, Index layer_idx, const tensor::Tensor&)>;

struct Context {
  platform::ThreadPool& pool;
  const KernelTable<float>& f32;
  const KernelTable<double>& f64;
  tensor::Arena& arena;
  tensor::DType real = tensor::DType::F32;  // F32 or F64: what activations are computed in
  Numerics numerics = Numerics::High;
  // Bf16: products on the way back multiply BF16 numbers (docs/training.md).
  Rounding gradient_operands = Rounding::None;
  int num_threads = 1;
  Probe probe;
  Recorder* recorder = nullptr;  // told of every op (ops/recorder.h); none: nothing is recorded
  TrainingTerms* training =
      nullptr;  // losses inside layers (ops/training_terms.h); none: inference

  Rounding rounding() const { return bf16_if_official(numerics); }
  // Of layers whose sums the numerics round, and of those whose sums stay fp32 in all of them.
  Products products() const {
    return numerics == Numerics::Official ? Products::Bf16 : Products::Fp32;
  }
  Products unrounded_products() const {
    return numerics == Numerics::Official ? Products::Bf16Operands : Products::Fp32;
  }
  // Of the cache's rows (kv::row_dtype).
  tensor::DType cache_dtype() const {
    const bool is_bf16 = numerics == Numerics::Fast && real == tensor::DType::F32;
    return is_bf16 ? tensor::DType::BF16 : real;
  }
  tensor::Tensor allocate(const tensor::Shape& shape) {
    return tensor::Tensor::allocate(arena, real, shape);
  }
  void observe(std::string_view name, Index layer_idx, const tensor::Tensor& value) const {
    if (probe) {
      probe(name, layer_idx, value);
    }
  }
};

}  // namespace fathom::ops
