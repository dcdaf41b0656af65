// High numerics against logits that PyPI transformers computed (tests/data/oracle/README.md).
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/families.h"
#include "fathom/fathom.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/weights/synth.h"

#include "tests/support/compare.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensor_file.h"

namespace fathom::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kNumModels = 12;
constexpr double kTolerance = 1e-4;  // of the logits' standard deviation
const char* const kBackends[] = {"reference:f64", "cpu"};

fs::path data_folder() {
  return fs::path(FATHOM_SOURCE_DIR) / "tests/data";
}

// Logits [T, V] of the tokens, in steps of `chunk`.
std::vector<float> logits_of(const fs::path& model_path,
                             const std::string& backend,
                             const std::vector<TokenId>& tokens,
                             std::size_t chunk) {
  const auto model = Model::open(model_path.string(), {.num_threads = 2, .backend = backend});
  Session session = model->start();
  std::vector<float> all;
  for (std::size_t first = 0; first < tokens.size(); first += chunk) {
    const auto count = std::min(chunk, tokens.size() - first);
    session.append(std::span(tokens).subspan(first, count),
                   [&](std::int64_t, std::int64_t num_rows, const float* logits) {
                     all.insert(all.end(), logits, logits + num_rows * model->facts().vocab_size);
                   });
  }
  return all;
}

class SyntheticModel : public ::testing::TestWithParam<int> {};

TEST_P(SyntheticModel, LogitsMeetTransformers) {
  const std::string name = (GetParam() < 10 ? "0" : "") + std::to_string(GetParam()) + ".json";
  const auto golden =
      nlohmann::json::parse(test::read_file(data_folder() / "oracle" / name), nullptr, true);
  const config::ParsedConfig config = config::parse_config_json(golden.at("config").dump(), name);
  const test::TempDir temp;
  platform::ThreadPool pool({.num_threads = 2});
  weights::write_synthetic(config.model,
                           config::storage_plan_from_name(golden.at("storage").get<std::string>()),
                           names_of(config.model.family), temp / "model",
                           {.seed = golden.at("synth_seed").get<std::uint64_t>()}, pool);

  const auto tokens = golden.at("tokens").get<std::vector<TokenId>>();
  const auto positions = golden.at("positions").get<std::vector<std::size_t>>();
  const auto rows = golden.at("logits").get<std::vector<std::vector<float>>>();
  const double limit = kTolerance * golden.at("deviation").get<double>();
  ASSERT_GE(positions.size(), 8U);
  ASSERT_EQ(rows.size(), positions.size());
  const auto columns = to_size(config.model.vocab_size);
  for (const char* backend : kBackends) {
    const std::vector<float> found = logits_of(temp / "model", backend, tokens, tokens.size());
    ASSERT_EQ(found.size(), tokens.size() * columns);
    for (std::size_t i = 0; i < positions.size(); ++i) {
      const auto begin = found.begin() + static_cast<std::ptrdiff_t>(positions[i] * columns);
      const std::vector<float> row(begin, begin + static_cast<std::ptrdiff_t>(columns));
      EXPECT_TRUE(all_within(row, rows[i], limit)) << backend << ", position " << positions[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Transformers, SyntheticModel, ::testing::Range(0, kNumModels));

// The mixed names and the config of save_pretrained.
TEST(SavedByTransformers, LogitsMeetTransformers) {
  const fs::path folder = data_folder() / "transformers-tiny";
  const TensorFile reference(folder / "reference.safetensors");
  const auto prompt = reference.read<std::int64_t>("prompt");
  const std::vector<TokenId> tokens(prompt.begin(), prompt.end());
  const auto expected = reference.read<float>("logits");
  double sum = 0;
  double squares = 0;
  for (const float value : expected) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const auto count = static_cast<double>(expected.size());
  const double deviation = std::sqrt(squares / count - (sum / count) * (sum / count));
  for (const char* backend : kBackends) {
    for (const std::size_t chunk : {tokens.size(), std::size_t{7}}) {
      EXPECT_TRUE(
          all_within(logits_of(folder, backend, tokens, chunk), expected, kTolerance * deviation))
          << backend << ", steps of " << chunk;
    }
  }
}

}  // namespace
}  // namespace fathom::testing
