// Expecting a fathom::Error by its code and a piece of its message.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::testing {

// Fails unless `action` throws an Error of `code` with a message of one line that contains `part`.
template <typename Action>
::testing::AssertionResult fails_with(ErrorCode code,
                                      const std::string& part,
                                      const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.code() != code) {
      return ::testing::AssertionFailure() << "another code: " << message;
    }
    if (message.find(part) == std::string::npos) {
      return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << message;
    }
    if (message.find('\n') != std::string::npos) {
      return ::testing::AssertionFailure() << "more than one line: " << message;
    }
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "nothing was thrown, expected: " << part;
}

}  // namespace fathom::testing
