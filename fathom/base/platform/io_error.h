// What the operating system refused, as an error.
#pragma once

#include <filesystem>
#include <system_error>

#include "fathom/base/core/error.h"

namespace fathom::platform {

// Throws Io: "<verb> <path>: <the system's reason>"; `number` is an errno.
[[noreturn]] inline void fail_io(const char* verb, const std::filesystem::path& path, int number) {
  fail(ErrorCode::Io, verb, " ", path.string(), ": ",
       std::error_code(number, std::generic_category()).message());
}

}  // namespace fathom::platform
