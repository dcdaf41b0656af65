// Assembly: threads, step memory and the kernel table of one backend, made into a Context.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/ops/kernel_table.h"

namespace fathom::runtime {

struct RuntimeOptions {
  int num_threads = 0;  // 0: one per available processor
  bool pin_to_cores = false;
  // reference | reference:f64 | cpu | cpu:ISA, ISA one of available_isas().
  std::string backend = "cpu";
  ops::Numerics numerics = ops::Numerics::High;
  // Of products on the way back (ops/context.h).
  ops::Rounding gradient_operands = ops::Rounding::None;
};

// Instruction sets of the cpu backend that this machine has, best first.
std::vector<std::string> available_isas();

class Runtime {
 public:
  // Throws InvalidArgument for an unknown backend, Unsupported for an ISA this machine lacks.
  explicit Runtime(const RuntimeOptions& options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  ops::Context& context() { return context_; }
  platform::ThreadPool& pool() { return pool_; }
  // "cpu:avx3", "reference:f64": what results name.
  const std::string& backend_name() const { return backend_name_; }
  // Whether weights of a format are multiplied faster in panels (numeric/weight_panels.h) than in
  // rows, and panels take no more memory.
  bool reads_panels(numeric::WeightFormat format) const;
  // Ops that fall to the reference although another backend was asked for.
  std::vector<std::string> fallbacks() const;

 private:
  platform::ThreadPool pool_;
  tensor::Arena arena_;
  ops::KernelTable<float> f32_;
  ops::KernelTable<double> f64_;
  std::string backend_name_;
  ops::Context context_;
};

}  // namespace fathom::runtime
