#include "fathom/model/config/gguf_fields.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(GgufFields, DecimalsThatWereNarrowedComeBack) {
  EXPECT_EQ(decimal_of_float(static_cast<double>(1e-6F)), 1e-6);
  EXPECT_EQ(decimal_of_float(0.1), 0.1);  // was never narrowed
}

TEST(GgufFields, KeysAreThoseOfTheArchitectureButForTheTokenizers) {
  formats::GgufHeader header;
  header.metadata["arch.count"] = std::uint64_t{3};
  header.metadata["arch.other"] = std::uint64_t{4};
  header.metadata["tokenizer.ggml.x"] = std::uint64_t{5};
  const std::string file = "f.gguf";
  GgufFields fields(header, file, "arch");
  EXPECT_EQ(fields.integer("count", {0, 9}), 3);
  EXPECT_EQ(fields.integer("tokenizer.ggml.x", {0, 9}), 5);
  EXPECT_EQ(fields.find_integer("absent", {0, 9}), std::nullopt);
  EXPECT_EQ(fields.unknown_keys(), std::vector<std::string>{"arch.other"});
  testing::expect_error(
      [&] {
        fields.integer("absent", {0, 9});
      },
      ErrorCode::InvalidCheckpoint, {"f.gguf: arch.absent: key is missing"});
  testing::expect_error(
      [&] {
        fields.integer("count", {0, 2});
      },
      ErrorCode::InvalidCheckpoint, {"f.gguf: arch.count: expected a number from 0 to 2, found 3"});
  testing::expect_error([&] { fields.require_integer("other", 1, true); }, ErrorCode::Unsupported,
                        {"arch.other: only 1 is supported, found 4"});
  testing::expect_error(
      [&] {
        fields.vocab_size("absent", {1, 9});
      },
      ErrorCode::InvalidCheckpoint,
      {"arch.absent: key is missing, and so is tokenizer.ggml.tokens"});
}

}  // namespace
}  // namespace fathom::config
