#include "fathom/base/core/error.h"

#include <array>

namespace fathom {
namespace {

struct ErrorRow {
  ErrorCode code;
  std::string_view name;
  int exit_code;
  int http_status;
};

constexpr std::array<ErrorRow, 11> kErrors = {{
    {ErrorCode::InvalidArgument, "invalid argument", 2, 400},
    {ErrorCode::InvalidCheckpoint, "invalid checkpoint", 2, 500},
    {ErrorCode::Unsupported, "unsupported", 2, 400},
    {ErrorCode::OutOfMemory, "out of memory", 4, 503},
    {ErrorCode::Io, "input/output", 3, 500},
    {ErrorCode::Interrupted, "interrupted", 130, 503},
    {ErrorCode::NotFound, "not found", 2, 404},
    {ErrorCode::ContextTooLong, "context too long", 2, 400},
    {ErrorCode::Overloaded, "overloaded", 1, 429},
    {ErrorCode::Unavailable, "unavailable", 1, 503},
    {ErrorCode::Internal, "internal", 1, 500},
}};

const ErrorRow& row(ErrorCode code) {
  for (const ErrorRow& entry : kErrors) {
    if (entry.code == code) {
      return entry;
    }
  }
  return kErrors.back();
}

}  // namespace

std::string_view to_string(ErrorCode code) {
  return row(code).name;
}
int exit_code(ErrorCode code) {
  return row(code).exit_code;
}
int http_status(ErrorCode code) {
  return row(code).http_status;
}

namespace detail {

void check_failed(const char* condition, const char* file, int line) {
  fail(ErrorCode::Internal, "bug in Fathom: ", file, ":", line, ": ", condition, " does not hold");
}

}  // namespace detail
}  // namespace fathom
