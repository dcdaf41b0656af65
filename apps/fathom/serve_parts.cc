#include "apps/fathom/serve_parts.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include <sys/stat.h>

#include "fathom/base/core/error.h"
#include "fathom/serve/wire/errors.h"

#include "apps/fathom/input.h"

namespace fathom::app {
namespace {

http::KeyLimits key_limits(const ServeOptions& options) {
  return {.num_concurrent = options.key_concurrent, .num_per_minute = options.key_per_minute};
}

}  // namespace

ServeAccess open_access(const ServeOptions& options) {
  ServeAccess access;
  if (!options.keys.empty()) {
    http::KeyFile file = http::read_key_file(options.keys, key_limits(options));
    access.keys = std::make_shared<http::ApiKeys>(std::move(file.keys));
    access.warnings = std::move(file.warnings);
  }
  http::check_exposure(http::parse_endpoint(options.listen), access.keys != nullptr,
                       options.is_open_on_purpose);
  return access;
}

std::vector<std::string> reload_keys(const ServeOptions& options, http::ApiKeys& keys) {
  http::KeyFile file = http::read_key_file(options.keys, key_limits(options));
  keys.replace(std::move(file.keys));
  return std::move(file.warnings);
}

http::ServerOptions server_options(const ServeOptions& options,
                                   const std::shared_ptr<ServeLog>& log) {
  http::ServerOptions result;
  result.network.listen = http::parse_endpoint(options.listen);
  result.network.tls_certificate_path = options.tls_certificate;
  result.network.tls_key_path = options.tls_key;
  result.connection.parser.body_bytes = static_cast<Index>(options.max_body_bytes);
  result.max_connections = options.max_connections;
  result.cors_origins = options.cors_origins;
  result.allowed_hosts = options.allowed_hosts;
  result.error_body = wire::server_error;
  if (log != nullptr) {
    result.log = [log](const http::AccessRecord& record) { log->access(record); };
    result.log_problem = [log](const std::string& message) { log->problem(message); };
  }
  return result;
}

std::string url_of(const http::Server& server, const ServeOptions& options) {
  return (options.tls_certificate.empty() ? "http://" : "https://") +
         http::to_string(server.endpoint());
}

std::string open_secret(const std::string& path) {
  constexpr std::size_t kSecretBytes = 32;
  if (path.empty()) {
    return {};
  }
  if (std::filesystem::exists(path)) {
    std::string secret = read_input(path);
    if (secret.size() < kSecretBytes) {
      fail(ErrorCode::InvalidArgument, "--secret ", path, ": expected at least ", kSecretBytes,
           " bytes, found ", secret.size());
    }
    return secret;
  }
  std::random_device device;
  std::string secret(kSecretBytes, '\0');
  for (char& byte : secret) {
    byte = static_cast<char>(device());
  }
  // Nobody else may read it, not even for a moment.
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  const bool is_written =
      file >= 0 && write(file, secret.data(), secret.size()) == static_cast<ssize_t>(secret.size());
  const int error = errno;
  if (file >= 0) {
    close(file);
  }
  if (!is_written) {
    fail(ErrorCode::Io, "--secret ", path,
         ": cannot be written: ", std::generic_category().message(error));
  }
  return secret;
}

void check_snapshot_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || access(path.c_str(), W_OK | X_OK) != 0) {
    fail(ErrorCode::Io, "--snapshots ", path,
         ": cannot be written: ", error ? error.message() : std::generic_category().message(errno));
  }
}

}  // namespace fathom::app
