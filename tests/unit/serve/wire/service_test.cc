#include "fathom/serve/wire/service.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::wire {
namespace {

using fathom::testing::fails_with;

TEST(Service, AnUnknownModelIsTheFirstUnlessNamesAreStrict) {
  const std::vector<ServedModel> models = {{.name = "a"}, {.name = "b"}};
  const Service lenient(models, {});
  EXPECT_EQ(lenient.model("b").name, "b");
  EXPECT_EQ(lenient.model("gpt-5").name, "a");
  EXPECT_EQ(lenient.model("").name, "a");
  const Service strict(models, {.strict_models = true});
  EXPECT_EQ(strict.model("").name, "a");
  Service loading({});
  EXPECT_TRUE(loading.models().empty());
  EXPECT_TRUE(
      fails_with(ErrorCode::Unavailable, "loaded", [&] { static_cast<void>(loading.model("a")); }));
  loading.publish(models);
  EXPECT_EQ(loading.model("a").name, "a");
  EXPECT_TRUE(fails_with(ErrorCode::NotFound,
                         "model: ", [&] { static_cast<void>(strict.model("gpt-5")); }));
}

}  // namespace
}  // namespace fathom::wire
