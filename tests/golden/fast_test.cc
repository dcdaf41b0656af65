// The numerics `fast` may only be as far from `high` as `official` is, on every golden checkpoint
// and every instruction set of the machine.
#include <iostream>

#include <gtest/gtest.h>

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"

namespace fathom::testing {
namespace {

struct Errors {
  double kl;
  double rms;
};

std::vector<double> logits_of(const std::string& checkpoint,
                              const std::string& backend,
                              ops::Numerics numerics) {
  GoldenModel model(checkpoint, backend, numerics);
  kv::SequenceCache cache = model.cache();
  return model.logits(model.prompt(), 0, cache);
}

Errors error_against(const std::vector<double>& high,
                     const std::vector<double>& found,
                     Index vocab_size) {
  double squares = 0;
  for (std::size_t i = 0; i < high.size(); ++i) {
    squares += (found[i] - high[i]) * (found[i] - high[i]);
  }
  return {mean_kl(found, high, to_size(vocab_size)),
          std::sqrt(squares / static_cast<double>(high.size()))};
}

class Fast : public ::testing::TestWithParam<std::string> {};

TEST_P(Fast, IsNoFurtherFromHighThanOfficialIs) {
  const std::string checkpoint = GetParam();
  const auto vocab_size = GoldenModel(checkpoint, "cpu", ops::Numerics::High).config().vocab_size;
  for (const std::string& isa : runtime::available_isas()) {
    const std::string backend = "cpu:" + isa;
    SCOPED_TRACE(backend);
    const std::vector<double> high = logits_of(checkpoint, backend, ops::Numerics::High);
    const auto error_of = [&](ops::Numerics numerics) {
      return error_against(high, logits_of(checkpoint, backend, numerics), vocab_size);
    };
    const Errors official = error_of(ops::Numerics::Official);
    const Errors fast = error_of(ops::Numerics::Fast);
    std::cout << checkpoint << ", " << backend << ": fast KL " << fast.kl << " rms " << fast.rms
              << ", official KL " << official.kl << " rms " << official.rms << "\n";
    EXPECT_TRUE(fast.kl <= official.kl);
    EXPECT_TRUE(fast.rms <= official.rms);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden,
                         Fast,
                         ::testing::ValuesIn(golden_checkpoints()),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace fathom::testing
