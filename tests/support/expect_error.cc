#include "tests/support/expect_error.h"

namespace fathom::testing {

::testing::AssertionResult fails_with(ErrorCode code,
                                      const std::string& part,
                                      const void* action,
                                      void (*run)(const void* action)) {
  try {
    run(action);
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
