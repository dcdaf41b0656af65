// One connection of bytes, as HTTP sees it: no sockets, no TLS.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <system_error>

namespace fathom::http {

// Callbacks come one at a time, never from within a call. They must hold what they touch: a
// transport that is closed still calls those that wait, with an error. All but post() are to be
// called from a callback.
class Transport {
 public:
  using Done = std::function<void(const std::error_code& error, std::size_t num_bytes)>;
  using Clock = std::chrono::steady_clock;

  virtual ~Transport() = default;

  // What must happen before the first byte: TLS. Called once.
  virtual void open(Done done) = 0;
  // At least one byte. One at a time, beside one write. The end of the stream is an error.
  virtual void read_some(char* data, std::size_t size, Done done) = 0;
  // All bytes.
  virtual void write(const char* data, std::size_t size, Done done) = 0;
  // Tells the peer that nothing follows, while reading goes on.
  virtual void end_writing() = 0;
  // At once; `is_reset` throws away what the system has not sent yet.
  virtual void close(bool is_reset) = 0;

  // Has a callback called, from any thread.
  virtual void post(std::function<void()> call) = 0;
  // Has it called at that time, instead of what was to be called before.
  virtual void call_at(Clock::time_point time, std::function<void()> call) = 0;

  // "127.0.0.1:51234"
  virtual std::string peer() const = 0;
};

}  // namespace fathom::http
