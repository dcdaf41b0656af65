// Measuring single ops at the shapes of a model, its own weights as they lie in its files.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/weights/store.h"

namespace fathom::bench {

// What bounds an op on this machine.
enum class Bound { Read, Int8, Bf16, Fp32, None };
std::string_view to_string(Bound bound);

// The peak that the products of a prompt are compared with in a numerics.
Bound product_bound(ops::Numerics numerics);

struct KernelResult {
  std::string op;
  std::string format;  // of the weights, or of the cache's rows; "-" where an op has neither
  std::string shape;
  Index tokens = 0;
  // One of the two: bytes of weights (of activations, without weights) or operations.
  std::optional<double> bytes_per_s;
  std::optional<double> operations_per_s;
  Bound bound = Bound::None;
  std::optional<double> fraction_of_limit;
};

struct KernelOptions {
  Index many_tokens = 512;
  double seconds_per_kernel = 0.1;
  // Copies of a matrix are used in turn until they are as many bytes, so that it is not read from a
  // cache; a model's own layers come first.
  Index working_set_bytes = Index{1} << 28;
  // Bytes or operations per second that the machine can do at this moment.
  std::function<std::optional<double>(Bound)> limit;
  std::function<void(Index done, Index total)> progress = {};
};

// Every format and shape of matrix that the model multiplies with, for one token and for many, and
// the ops between the products.
std::vector<KernelResult> measure_kernels(runtime::Runtime& runtime,
                                          const config::ModelConfig& config,
                                          const weights::Store& store,
                                          const KernelOptions& options);

}  // namespace fathom::bench
