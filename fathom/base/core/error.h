// The one exception type of Fathom and the macros that raise it.
//
// Throw for what ends the current unit of work: opening a checkpoint, serving a request, running a
// step. Return a value for what the caller is expected to handle (no free page, end of stream).
// Kernels do neither: they are noexcept and their arguments were checked by the op that calls them.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fathom {

// What went wrong, as seen by a caller who must choose an HTTP status or an exit code.
// The mapping to both lives in one table, in fathom/base/core/error.cc.
enum class ErrorCode {
  InvalidArgument,    // the caller's request or option is wrong
  InvalidCheckpoint,  // the files do not describe a model we can load
  Unsupported,        // valid, but not implemented here
  OutOfMemory,        // host or device allocation failed
  Io,                 // the operating system refused a read or write
  Interrupted,        // the user asked to stop
  NotFound,           // nothing of that name
  ContextTooLong,     // the prompt does not fit into the model's context
  Overloaded,         // as much is waiting as may wait: ask again later
  Unavailable,        // not ready yet, or going down
  Internal,           // a bug in Fathom
};

std::string_view to_string(ErrorCode code);
int exit_code(ErrorCode code);
int http_status(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// Concatenates the parts into the message: fail(ErrorCode::Io, "read ", path, ": ", reason).
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(code, message.str());
}

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace detail

}  // namespace fathom

// A bug in Fathom if it does not hold; always on, throws ErrorCode::Internal.
#define FATHOM_CHECK(condition)                                       \
  do {                                                                \
    if (!(condition)) [[unlikely]] {                                  \
      ::fathom::detail::check_failed(#condition, __FILE__, __LINE__); \
    }                                                                 \
  } while (false)

// The same for hot loops: only in debug builds.
#ifdef NDEBUG
#define FATHOM_DCHECK(condition) static_cast<void>(0)
#else
#define FATHOM_DCHECK(condition) FATHOM_CHECK(condition)
#endif
