// Official numerics against the official model's own results (golden README, `official.*`).
#include <cmath>
#include <iostream>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/small_floats.h"

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"

namespace fathom::testing {
namespace {

struct Case {
  std::string checkpoint;
  std::string backend;
};

class Official : public ::testing::TestWithParam<Case> {};
class OfficialLayers : public ::testing::TestWithParam<Case> {};

// The reference's logits [300, V] at positions 250.., token by token, against its whole run: how
// far the official code is from itself.
double own_difference(const GoldenModel& model) {
  const auto whole = model.reference().read<float>("official.logits");
  const auto step = model.reference().read<float>("official.decode_logits_from_250");
  const std::vector<float> tail(whole.end() - static_cast<std::ptrdiff_t>(step.size()),
                                whole.end());
  return mean_kl(step, tail, to_size(model.config().vocab_size));
}

TEST_P(Official, WholeRunIsNearerToTheReferenceThanTheReferenceIsToItself) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::Official);
  kv::SequenceCache cache = model.cache();
  const auto found = model.logits(model.prompt(), 0, cache);
  const auto expected = model.reference().read<float>("official.logits");
  const auto columns = to_size(model.config().vocab_size);
  const double kl = mean_kl(found, expected, columns);
  const double agreement = argmax_agreement(found, expected, columns);
  RecordProperty("mean_kl", std::to_string(kl));
  std::cout << GetParam().checkpoint << ": mean KL " << kl << ", the reference's own "
            << own_difference(model) << ", argmax " << agreement << "\n";
  if (GetParam().checkpoint == "trained-bytes") {
    EXPECT_TRUE(kl <= 2e-4) << kl;
    EXPECT_GE(agreement, 0.99);
  } else {
    EXPECT_TRUE(kl < own_difference(model)) << kl << " against " << own_difference(model);
  }
}

std::vector<float> widened(const std::vector<std::uint16_t>& bf16) {
  std::vector<float> values;
  for (const std::uint16_t bits : bf16) {
    values.push_back(numeric::bf16_to_float(bits));
  }
  return values;
}

// Share of numbers at most one BF16 step apart.
double share_within_one_ulp(const std::vector<float>& found, const std::vector<float>& expected) {
  const auto ordered = [](float value) {
    const int bits = numeric::float_to_bf16(value);
    return (bits & 0x8000) != 0 ? 0x8000 - bits : bits;
  };
  std::size_t near = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    near += std::abs(ordered(found[i]) - ordered(expected[i])) <= 1 ? 1U : 0U;
  }
  return static_cast<double>(near) / static_cast<double>(expected.size());
}

TEST_P(OfficialLayers, SingleLayersReproduceTheOfficialOutput) {
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::Official);
  const auto prompt = model.prompt();
  for (Index layer = 0; layer < model.config().num_layers(); ++layer) {
    const std::string key = "official.layer." + std::to_string(layer);
    const auto input = widened(model.reference().read<std::uint16_t>(key + ".input_full"));
    const auto expected = widened(model.reference().read<std::uint16_t>(key + ".output_full"));
    const tensor::Arena::Scope scope(model.context().arena);
    kv::SequenceCache cache = model.cache();
    const tensor::Tensor streams = model.context().allocate(
        {to_index(prompt.size()), model.config().num_streams, model.config().hidden_size});
    std::copy(input.begin(), input.end(), streams.data<float>());
    model.v4().forward_layer(model.context(),
                             layers::TokenBatch::single(model.context().arena, prompt, cache),
                             layer, streams);
    const std::vector<float> found(streams.data<float>(),
                                   streams.data<float>() + streams.num_elements());
    const double rms = relative_rms(found, expected);
    const double near = share_within_one_ulp(found, expected);
    std::cout << GetParam().checkpoint << " layer " << layer << ": relative RMS " << rms
              << ", within 1 ulp " << near << "\n";
    EXPECT_TRUE(rms <= 0.02 || near >= 0.95)
        << key << ": relative RMS " << rms << ", within 1 ulp " << near;
  }
}

std::vector<Case> cases(const std::vector<std::string>& checkpoints) {
  std::vector<Case> all;
  for (const std::string& checkpoint : checkpoints) {
    for (const char* backend : {"reference", "cpu"}) {
      all.push_back({checkpoint, backend});
    }
  }
  return all;
}

std::string case_name(const ::testing::TestParamInfo<Case>& test) {
  std::string name = test.param.checkpoint + "_" + test.param.backend;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Golden,
                         Official,
                         ::testing::ValuesIn(cases(golden_checkpoints())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Golden,
                         OfficialLayers,
                         ::testing::ValuesIn(cases({"flash-tiny", "pro-tiny"})),
                         case_name);

}  // namespace
}  // namespace fathom::testing
