// The loss of a token sequence and its gradient by every parameter of a checkpoint.
//
// A part of the door for the program and for tests: training itself needs no checkpoint's names.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fathom {

struct GradientOptions {
  int num_threads = 0;  // 0: one per available processor
  std::string backend = "cpu";
  std::string numerics = "high";  // high | official; roundings are passed straight through
  bool recompute = true;          // layers on the way back; without, everything is kept
};

// d loss / d tensor, under the tensor's name and in its shape in the checkpoint. Of a quantised
// tensor, that of the dequantised matrix.
struct TensorGradient {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

struct LossGradients {
  double loss = 0;  // mean over the tokens but the first of -log p(token | those before), in nats
  std::vector<TensorGradient> tensors;  // in the order of names; without those that have none
  std::string backend;                  // as chosen: "cpu:avx3"
};

// The whole sequence in one step. Throws InvalidArgument for fewer than 2 tokens, an id outside the
// vocabulary or more tokens than the model's context; Unsupported for numerics without gradients;
// what Model::open throws.
LossGradients compute_gradients(const std::string& path,
                                std::span<const std::int64_t> ids,
                                const GradientOptions& options);

}  // namespace fathom
