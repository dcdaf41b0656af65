// Llama in high numerics against logits that PyPI transformers computed, from safetensors and from
// GGUF (tools/make_goldens/llama_tiny.py).
#include <gtest/gtest.h>

#include "fathom/fathom.h"

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace fathom::testing {
namespace {

struct Case {
  std::string name;
  std::string checkpoint;
  std::string reference;  // folder of the expected logits
  std::string backend;
  Index chunk;  // 0: whole
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const std::pair<const char*, const char*> files[] = {{"llama-tiny", "llama-tiny"},
                                                       {"llama-tiny.gguf", "llama-tiny"},
                                                       {"llama-tied", "llama-tied"}};
  for (const auto& [checkpoint, reference] : files) {
    for (const char* backend : {"cpu", "reference", "reference:f64"}) {
      for (const Index chunk : {0, 7}) {
        std::string name = std::string(checkpoint) + "_" + backend + "_" + std::to_string(chunk);
        std::replace_if(
            name.begin(), name.end(), [](char letter) { return std::isalnum(letter) == 0; }, '_');
        all.push_back({name, checkpoint, reference, backend, chunk});
      }
    }
  }
  return all;
}

class LlamaLogits : public ::testing::TestWithParam<Case> {};

TEST_P(LlamaLogits, MeetTransformers) {
  const TensorFile file(golden_folder(GetParam().reference) / "reference.safetensors");
  const auto prompt = file.read<std::int64_t>("prompt");
  const std::vector<std::int32_t> tokens(prompt.begin(), prompt.end());
  GoldenModel model(GetParam().checkpoint, GetParam().backend, ops::Numerics::High);
  kv::SequenceCache cache = model.cache();
  // Transformers' own sums in fp32 are off by as much: its logits have a deviation of 1.4 and 6.2.
  EXPECT_TRUE(
      all_within(model.logits(tokens, GetParam().chunk, cache), file.read<float>("logits"), 2e-4));
}

INSTANTIATE_TEST_SUITE_P(Golden, LlamaLogits, ::testing::ValuesIn(cases()), [](const auto& test) {
  return test.param.name;
});

TEST(Llama, OfficialNumericsAreRefused) {
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "official is not defined", [] {
    Model::open(golden_folder("llama-tiny").string(), {.numerics = "official"});
  }));
}

TEST(Llama, FactsHaveNoDraft) {
  const auto model = Model::open(golden_folder("llama-tiny").string());
  EXPECT_EQ(model->facts().family, "llama");
  EXPECT_FALSE(model->facts().has_draft);
  Session session = model->start();
  const std::vector<TokenId> tokens = {1, 2};
  EXPECT_TRUE(fails_with(ErrorCode::Unsupported, "multi-token prediction", [&] {
    session.append_for_draft(tokens, [](Index, Index, const float*) {});
  }));
}

}  // namespace
}  // namespace fathom::testing
