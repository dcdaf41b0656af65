#include "fathom/compute/runtime/runtime.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::runtime {
namespace {

TEST(Runtime, BackendNamesSayWhatWasChosen) {
  EXPECT_EQ(Runtime({.num_threads = 1, .backend = "reference"}).backend_name(), "reference");
  EXPECT_EQ(Runtime({.num_threads = 1, .backend = "reference:f64"}).backend_name(),
            "reference:f64");
  const auto isas = available_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(Runtime({.num_threads = 1, .backend = "cpu"}).backend_name(), "cpu:" + isas.front());
  for (const std::string& isa : isas) {
    EXPECT_EQ(Runtime({.num_threads = 1, .backend = "cpu:" + isa}).backend_name(), "cpu:" + isa);
  }
}

TEST(Runtime, UnknownBackendIsRefusedWithTheKnownOnes) {
  for (const char* name : {"", "gpu", "cpu:", "cpu:avx9", "reference:f16", "CPU"}) {
    const auto open = [name] { Runtime({.num_threads = 1, .backend = name}); };
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument,
                                    "backend: found \"" + std::string(name) +
                                        "\", expected one of reference, reference:f64, cpu",
                                    open));
    EXPECT_TRUE(
        testing::fails_with(ErrorCode::InvalidArgument, "cpu:" + available_isas().front(), open));
  }
}

TEST(Runtime, ContextHasTheChosenNumbersThreadsAndNumerics) {
  Runtime wide({.num_threads = 3, .backend = "reference:f64", .numerics = ops::Numerics::Official});
  EXPECT_EQ(wide.context().real, tensor::DType::F64);
  EXPECT_EQ(wide.context().num_threads, 3);
  EXPECT_EQ(wide.context().rounding(), ops::Rounding::Bf16);
  Runtime narrow({.num_threads = 1, .backend = "cpu"});
  EXPECT_EQ(narrow.context().real, tensor::DType::F32);
  EXPECT_EQ(narrow.context().rounding(), ops::Rounding::None);
}

TEST(Runtime, ReadsPanelsOfWhatItsNumericsRound) {
  const Runtime high({.num_threads = 1, .backend = "cpu", .numerics = ops::Numerics::High});
  const Runtime fast({.num_threads = 1, .backend = "cpu", .numerics = ops::Numerics::Fast});
  const Runtime reference(
      {.num_threads = 1, .backend = "reference", .numerics = ops::Numerics::Fast});
  EXPECT_TRUE(fast.reads_panels(numeric::WeightFormat::Q8_0));
  EXPECT_FALSE(fast.reads_panels(numeric::WeightFormat::Q5_0));  // larger than its rows
  EXPECT_FALSE(fast.reads_panels(numeric::WeightFormat::BF16));
  for (const auto format : {numeric::WeightFormat::Q8_0, numeric::WeightFormat::Fp8}) {
    EXPECT_FALSE(high.reads_panels(format));
    EXPECT_FALSE(reference.reads_panels(format));
  }
  for (const std::string& isa : available_isas()) {
    const Runtime runtime(
        {.num_threads = 1, .backend = "cpu:" + isa, .numerics = ops::Numerics::Fast});
    EXPECT_EQ(runtime.reads_panels(numeric::WeightFormat::Fp8), isa == "avx3_bf16") << isa;
  }
}

TEST(Runtime, EveryKernelIsThereOnEveryBackend) {
  std::vector<std::string> backends = {"reference", "reference:f64"};
  for (const std::string& isa : available_isas()) {
    backends.push_back("cpu:" + isa);
  }
  for (const std::string& backend : backends) {
    Runtime runtime({.num_threads = 1, .backend = backend});
    std::vector<std::string> fallbacks;
    ops::KernelTable<float>::for_each(
        runtime.context().f32, [&](std::string_view name, const auto& kernel) {
          EXPECT_NE(kernel.run, nullptr) << backend << " " << name;
          if (backend.starts_with("cpu") && kernel.provider == "reference") {
            fallbacks.emplace_back(name);
          }
        });
    ops::KernelTable<double>::for_each(runtime.context().f64,
                                       [&](std::string_view name, const auto& kernel) {
                                         EXPECT_NE(kernel.run, nullptr) << backend << " " << name;
                                         EXPECT_EQ(kernel.provider, "reference");
                                       });
    EXPECT_EQ(runtime.fallbacks(), fallbacks);
  }
}

}  // namespace
}  // namespace fathom::runtime
