#include "apps/fathom/serve_log.h"

#include <chrono>
#include <ctime>

#include <nlohmann/json.hpp>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "fathom/base/core/error.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;

std::string now() {
  const auto time = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     milliseconds);
}

void write(spdlog::logger& logger, std::string_view event, const Json& fields) {
  Json line = {{"time", now()}, {"event", event}};
  line.update(fields);
  logger.info(line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::shared_ptr<spdlog::logger> open_logger(const std::string& path) {
  spdlog::sink_ptr sink;
  try {
    sink = path.empty() ? spdlog::sink_ptr(std::make_shared<spdlog::sinks::stderr_sink_mt>())
                        : std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
  } catch (const spdlog::spdlog_ex& error) {
    fail(ErrorCode::Io, "--log: ", error.what());
  }
  auto logger = std::make_shared<spdlog::logger>("serve", std::move(sink));
  logger->set_pattern("%v");
  logger->flush_on(spdlog::level::info);
  return logger;
}

}  // namespace

ServeLog::ServeLog(const std::string& path) : logger_(open_logger(path)) {}

ServeLog::~ServeLog() = default;

void ServeLog::reopen(const std::string& path) {
  std::shared_ptr<spdlog::logger> opened = open_logger(path);
  const std::lock_guard lock(mutex_);
  logger_.swap(opened);
}

std::shared_ptr<spdlog::logger> ServeLog::logger() const {
  const std::lock_guard lock(mutex_);
  return logger_;
}

void ServeLog::event(std::string_view event, std::string_view message) {
  write(*logger(), event, {{"message", message}});
}

void ServeLog::problem(std::string_view message) {
  write(*logger(), "problem", {{"message", message}});
}

void ServeLog::access(const http::AccessRecord& record) {
  Json fields = {{"request_id", record.request_id},
                 {"peer", record.peer},
                 {"key", record.key_name},
                 {"method", record.method},
                 {"path", record.path},
                 {"status", record.status},
                 {"bytes", record.num_bytes},
                 {"ms", std::llround(record.seconds * 1e3)}};
  if (!record.problem.empty()) {
    fields["problem"] = record.problem;
  }
  write(*logger(), "request", fields);
}

void ServeLog::text(std::string_view kind, std::uint64_t request_id, std::string_view text) {
  write(*logger(), kind, {{"engine_request", request_id}, {"text", text}});
}

}  // namespace fathom::app
