// Expecting a fathom::Error by its code and a piece of its message.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

namespace fathom::testing {

// fails_with() of an action behind a pointer: hundreds of lambdas need not each have it compiled.
::testing::AssertionResult fails_with(ErrorCode code,
                                      const std::string& part,
                                      const void* action,
                                      void (*run)(const void* action));

// Fails unless `action` throws an Error of `code` with a message of one line that contains `part`.
template <typename Action>
::testing::AssertionResult fails_with(ErrorCode code,
                                      const std::string& part,
                                      const Action& action) {
  return fails_with(code, part, &action,
                    [](const void* each) { (*static_cast<const Action*>(each))(); });
}

}  // namespace fathom::testing
