#include "fathom/serve/http/keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::http {
namespace {

using testing::fails_with;
using TimePoint = std::chrono::steady_clock::time_point;

Request with_key(const std::string& key) {
  return {.headers = {{"Authorization", "Bearer " + key}}};
}

ApiKeys keys_of(std::string_view text, const KeyLimits& limits = {}) {
  return ApiKeys(parse_keys(text, "keys", limits).keys);
}

TEST(Keys, LinesAreKeysWithNamesAndLimits) {
  const KeyFile file =
      parse_keys("# team keys\n\nann:secret-of-ann\r\n  bare-secret  concurrent=2 per_minute=60\n",
                 "keys", {.num_concurrent = 9});
  ASSERT_EQ(file.keys.size(), 2U);
  EXPECT_EQ(file.keys[0].name, "ann");
  EXPECT_EQ(file.keys[0].limits.num_concurrent, 9);
  EXPECT_EQ(file.keys[1].name, "key4");
  EXPECT_EQ(file.keys[1].limits.num_concurrent, 2);
  EXPECT_EQ(file.keys[1].limits.num_per_minute, 60);
  EXPECT_NE(file.keys[0].digest, file.keys[1].digest);
}

TEST(Keys, WrongLinesAreNamedAndNotShown) {
  for (const char* line :
       {"short", "ann:", ":secret-of-ann", "ann:secret-x concurrent=-1",
        "ann:secret-x concurrent=", "ann:secret-x speed=3", "ann:secret-x per_minute=3x"}) {
    const std::string text = std::string("bob:secret-of-bob\n") + line;
    try {
      parse_keys(text, "keys", {});
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_TRUE(message.starts_with("keys, line 2: expected")) << message;
      EXPECT_EQ(message.find("secret-"), std::string::npos) << message;
    }
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "keys, line 2: a key of this name is above",
                         [] { parse_keys("a:12345678\na:123456789", "keys", {}); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "keys: expected at least one key",
                         [] { parse_keys("# none\n", "keys", {}); }));
}

TEST(Keys, AFileThatOthersMayReadIsWarnedOf) {
  const test::TempDir dir;
  const std::string path = dir / "keys";
  test::write_file(path, "ann:secret-of-ann\n");
  chmod(path.c_str(), 0600);
  EXPECT_TRUE(read_key_file(path, {}).warnings.empty());
  chmod(path.c_str(), 0644);
  ASSERT_EQ(read_key_file(path, {}).warnings.size(), 1U);
  EXPECT_TRUE(fails_with(ErrorCode::Io, "cannot read the API keys in",
                         [&] { read_key_file(dir / "none", {}); }));
  EXPECT_TRUE(fails_with(ErrorCode::Io, "cannot read the API keys in",
                         [&] { read_key_file(dir.path(), {}); }));
}

TEST(Keys, AreTakenFromEitherHeader) {
  ApiKeys keys = keys_of("ann:secret-of-ann\nbob:secret-of-bob");
  EXPECT_EQ(keys.admit(with_key("secret-of-bob"), {}).key_name, "bob");
  EXPECT_EQ(keys.admit({.headers = {{"X-API-Key", "secret-of-ann"}}}, {}).key_name, "ann");
  EXPECT_EQ(keys.admit({.headers = {{"authorization", "bearer  secret-of-ann"}}}, {}).status, 200);
  for (const char* wrong : {"secret-of-an", "secret-of-annn", "ann:secret-of-ann", "ann"}) {
    EXPECT_EQ(keys.admit(with_key(wrong), {}).status, 401) << wrong;
  }
  EXPECT_EQ(keys.admit({}, {}).status, 401);
  EXPECT_EQ(keys.admit({.headers = {{"Authorization", "Basic secret-of-ann"}}}, {}).status, 401);
}

TEST(Keys, ConcurrentRequestsAreCountedByTheirLeases) {
  ApiKeys keys = keys_of("ann:secret-of-ann\nbob:secret-of-bob", {.num_concurrent = 2});
  ApiKeys::Admission first = keys.admit(with_key("secret-of-ann"), {});
  const ApiKeys::Admission second = keys.admit(with_key("secret-of-ann"), {});
  const ApiKeys::Admission third = keys.admit(with_key("secret-of-ann"), {});
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(third.status, 429);
  EXPECT_EQ(third.retry_after_s, 1);
  EXPECT_EQ(third.lease, nullptr);
  EXPECT_EQ(keys.admit(with_key("secret-of-bob"), {}).status, 200);
  first.lease.reset();
  EXPECT_EQ(keys.admit(with_key("secret-of-ann"), {}).status, 200);
}

TEST(Keys, RequestsAMinuteComeBackOneByOne) {
  ApiKeys keys = keys_of("ann:secret-of-ann", {.num_per_minute = 6});
  const TimePoint start{std::chrono::hours(1)};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(keys.admit(with_key("secret-of-ann"), start).status, 200);
  }
  const ApiKeys::Admission refused =
      keys.admit(with_key("secret-of-ann"), start + std::chrono::seconds(4));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.retry_after_s, 6);
  EXPECT_EQ(keys.admit(with_key("secret-of-ann"), start + std::chrono::seconds(11)).status, 200);
  EXPECT_EQ(keys.admit(with_key("secret-of-ann"), start + std::chrono::seconds(11)).status, 429);
}

TEST(Keys, ReplacedKeysEndAndCountsStay) {
  ApiKeys keys = keys_of("ann:secret-of-ann", {.num_concurrent = 1});
  const ApiKeys::Admission running = keys.admit(with_key("secret-of-ann"), {});
  keys.replace(parse_keys("ann:other-secret", "keys", {.num_concurrent = 1}).keys);
  EXPECT_EQ(keys.admit(with_key("secret-of-ann"), {}).status, 401);
  EXPECT_EQ(keys.admit(with_key("other-secret"), {}).status, 429);
}

}  // namespace
}  // namespace fathom::http
