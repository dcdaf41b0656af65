// What a server says while it runs: one JSON object a line, for machines, without prompts.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "fathom/serve/http/connection.h"

namespace spdlog {
class logger;
}

namespace fathom::app {

// Safe to use from several threads.
class ServeLog {
 public:
  // Appends to a file; to stderr when `path` is empty. Throws Io.
  explicit ServeLog(const std::string& path);
  ~ServeLog();
  ServeLog(const ServeLog&) = delete;
  ServeLog& operator=(const ServeLog&) = delete;

  // Goes on in another file, or in a new one of the same name: after the old one was moved away.
  // Throws Io, and then goes on where it was.
  void reopen(const std::string& path);
  // Whether what is said is written down too.
  bool logs_prompts() const { return logs_prompts_; }
  void set_logs_prompts(bool logs_prompts) { logs_prompts_ = logs_prompts; }

  void event(std::string_view event, std::string_view message);
  void problem(std::string_view message);
  void access(const http::AccessRecord& record);
  // Only when asked for: what a request and its reply said.
  void text(std::string_view kind, std::uint64_t request_id, std::string_view text);

 private:
  std::shared_ptr<spdlog::logger> logger() const;

  mutable std::mutex mutex_;
  std::shared_ptr<spdlog::logger> logger_;
  std::atomic<bool> logs_prompts_ = false;
};

}  // namespace fathom::app
