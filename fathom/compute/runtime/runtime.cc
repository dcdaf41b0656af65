#include "fathom/compute/runtime/runtime.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/compute/backends/cpu/kernels.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::runtime {
namespace {

struct Backend {
  std::string name;
  std::string isa;  // of the cpu backend; empty for the reference
  tensor::DType real = tensor::DType::F32;
};

Backend find_backend(const std::string& text) {
  if (text == "reference") {
    return {text, "", tensor::DType::F32};
  }
  if (text == "reference:f64") {
    return {text, "", tensor::DType::F64};
  }
  const std::vector<std::string> isas = cpu::available_isas();
  if (text == "cpu") {
    return {"cpu:" + isas.front(), isas.front()};
  }
  std::string known;
  for (const std::string& isa : isas) {
    if (text == "cpu:" + isa) {
      return {text, isa};
    }
    known += ", cpu:" + isa;
  }
  fail(ErrorCode::InvalidArgument, "backend: found \"", text,
       "\", expected one of reference, reference:f64, cpu", known,
       " (the instruction sets of this machine)");
}

}  // namespace

std::vector<std::string> available_isas() {
  return cpu::available_isas();
}

Runtime::Runtime(const RuntimeOptions& options)
    : pool_({.num_threads = options.num_threads, .pin_to_cores = options.pin_to_cores}),
      f32_(reference::kernels<float>()),
      f64_(reference::kernels<double>()),
      context_{.pool = pool_, .f32 = f32_, .f64 = f64_, .arena = arena_, .probe = {}} {
  const Backend backend = find_backend(options.backend);
  backend_name_ = backend.name;
  if (!backend.isa.empty()) {
    cpu::fill(f32_, backend.isa);
  }
  context_.real = backend.real;
  context_.numerics = options.numerics;
  context_.gradient_operands = options.gradient_operands;
  context_.num_threads = pool_.num_threads();
}

Runtime::~Runtime() = default;

bool Runtime::reads_panels(numeric::WeightFormat format) const {
  if (format == numeric::WeightFormat::Fp8) {
    return context_.numerics != ops::Numerics::High && cpu::multiplies_pairs(backend_name_);
  }
  return context_.numerics == ops::Numerics::Fast && backend_name_.starts_with("cpu") &&
         numeric::are_panels_as_small(format);
}

std::vector<std::string> Runtime::fallbacks() const {
  std::vector<std::string> names;
  if (!backend_name_.starts_with("cpu")) {
    return names;
  }
  ops::KernelTable<float>::for_each(f32_, [&](std::string_view name, const auto& kernel) {
    if (kernel.provider == "reference") {
      names.emplace_back(name);
    }
  });
  return names;
}

}  // namespace fathom::runtime
