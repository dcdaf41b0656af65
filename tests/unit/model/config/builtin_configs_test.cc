#include "fathom/model/config/builtin_configs.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

TEST(BuiltinConfigs, TextsAreThePublishedFilesByteForByte) {
  ASSERT_EQ(builtin_texts().size(), 2U);
  for (const BuiltinText& text : builtin_texts()) {
    const std::string stem = "golden/configs/" + std::string(text.name);
    EXPECT_EQ(text.config, testing::read_data(stem + ".config.json"));
    EXPECT_EQ(text.inference_config, testing::read_data(stem + ".inference.config.json"));
  }
}

TEST(BuiltinConfigs, BothModelsAreFoundWithTheirStorage) {
  for (const std::string_view name : {"v4-flash", "v4-pro"}) {
    const std::optional<ParsedConfig> parsed = find_builtin_config(name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_EQ(parsed->storage, storage_plan_from_name("fp4")) << name;
    EXPECT_EQ(parsed->model.num_layers(), name == "v4-pro" ? 61 : 43);
  }
}

TEST(BuiltinConfigs, OtherNamesAreNotFound) {
  EXPECT_FALSE(find_builtin_config("v4").has_value());
  EXPECT_FALSE(find_builtin_config("").has_value());
}

}  // namespace
}  // namespace fathom::config
