// Gradients of a model's parameters, by where the parameters lie in memory, and the memory of a
// step's other gradients from one step to the next.
#pragma once

#include <cstddef>
#include <map>
#include <memory>

#include "fathom/compute/autograd/gradient_memory.h"
#include "fathom/compute/tensor/tensor.h"

namespace fathom::autograd {

class ParameterGradients {
 public:
  // `real`: F32 or F64, what they are summed in.
  explicit ParameterGradients(tensor::DType real) : real_(real) {}

  // Declares a parameter that is trained: [rows, columns] numbers whose first byte is at `weights`.
  // Parameters that were not declared are frozen. Declaring one again changes nothing; with other
  // extents it is a bug.
  void add(const void* weights, Index rows, Index columns);

  // To be added to: zeros at first. Empty for a frozen parameter.
  tensor::Tensor at(const void* weights);
  // What was summed since the last clear(); empty where nothing asked for it, or for a frozen
  // parameter.
  tensor::Tensor find(const void* weights) const;

  // As if nothing had asked for a gradient yet, keeping the memory.
  void clear();

  // For what a step computes in `values`, nothing marked; of one tape at a time.
  GradientMemory& of_step(const tensor::Arena& values, platform::ThreadPool& pool);

 private:
  struct Entry {
    Index rows;
    Index columns;
    std::unique_ptr<std::byte[]> bytes;
    bool is_reached = false;  // since the last clear(): without it the bytes are of a sum before

    tensor::Tensor tensor(tensor::DType real) const { return {bytes.get(), real, {rows, columns}}; }
  };

  tensor::DType real_;
  std::map<const void*, Entry> entries_;
  std::unique_ptr<GradientMemory> of_step_;
};

}  // namespace fathom::autograd
