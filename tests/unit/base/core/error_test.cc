#include "fathom/base/core/error.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/base/core/index.h"

#include "tests/support/expect_error.h"

namespace fathom {
namespace {

constexpr ErrorCode kCodes[] = {ErrorCode::InvalidArgument,
                                ErrorCode::InvalidCheckpoint,
                                ErrorCode::Unsupported,
                                ErrorCode::OutOfMemory,
                                ErrorCode::Io,
                                ErrorCode::Interrupted,
                                ErrorCode::NotFound,
                                ErrorCode::ContextTooLong,
                                ErrorCode::Overloaded,
                                ErrorCode::Unavailable,
                                ErrorCode::Internal};

TEST(Error, EveryCodeHasANameOfItsOwnAndANonZeroExitCode) {
  std::set<std::string_view> names;
  for (const ErrorCode code : kCodes) {
    EXPECT_TRUE(names.insert(to_string(code)).second) << to_string(code);
    EXPECT_GT(exit_code(code), 0);
    EXPECT_GE(http_status(code), 400);
    EXPECT_LT(http_status(code), 600);
  }
}

TEST(Error, ExitCodesAreThoseThatScriptsRelyOn) {
  EXPECT_EQ(exit_code(ErrorCode::Internal), 1);
  EXPECT_EQ(exit_code(ErrorCode::InvalidArgument), 2);
  EXPECT_EQ(exit_code(ErrorCode::InvalidCheckpoint), 2);
  EXPECT_EQ(exit_code(ErrorCode::Unsupported), 2);
  EXPECT_EQ(exit_code(ErrorCode::Io), 3);
  EXPECT_EQ(exit_code(ErrorCode::OutOfMemory), 4);
  EXPECT_EQ(exit_code(ErrorCode::Interrupted), 130);
}

TEST(Error, OnlyTheCallersMistakesAreHttp400) {
  EXPECT_EQ(http_status(ErrorCode::InvalidArgument), 400);
  EXPECT_EQ(http_status(ErrorCode::Internal), 500);
  EXPECT_EQ(http_status(ErrorCode::OutOfMemory), 503);
}

TEST(Error, FailJoinsItsPartsIntoTheMessage) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "read x: 3 of 4.5 bytes", [] {
    fail(ErrorCode::Io, "read ", std::string("x"), ": ", 3, " of ", 4.5, " bytes");
  }));
}

TEST(Error, FailedCheckNamesTheConditionAndIsABug) {
  const int two = 2;
  FATHOM_CHECK(two == 2);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "two == 3 does not hold",
                                  [&] { FATHOM_CHECK(two == 3); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "error_test.cc:", [&] { FATHOM_CHECK(two == 3); }));
}

TEST(Index, CheckedArithmeticRefusesOverflowAndNegatives) {
  constexpr Index kLargest = std::numeric_limits<Index>::max();
  EXPECT_EQ(checked_multiply(3, 4), 12);
  EXPECT_EQ(checked_multiply(kLargest, 1), kLargest);
  EXPECT_EQ(checked_multiply(kLargest / 2 + 1, 2), std::nullopt);
  EXPECT_EQ(checked_multiply(-1, 4), std::nullopt);
  EXPECT_EQ(checked_add(kLargest - 1, 1), kLargest);
  EXPECT_EQ(checked_add(kLargest, 1), std::nullopt);
  EXPECT_EQ(checked_add(1, -1), std::nullopt);
}

TEST(Index, CeilDivRoundsUp) {
  EXPECT_EQ(ceil_div(0, 16), 0);
  EXPECT_EQ(ceil_div(1, 16), 1);
  EXPECT_EQ(ceil_div(16, 16), 1);
  EXPECT_EQ(ceil_div(17, 16), 2);
}

}  // namespace
}  // namespace fathom
