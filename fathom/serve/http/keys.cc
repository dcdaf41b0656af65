#include "fathom/serve/http/keys.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include "fathom/base/core/error.h"
#include "fathom/serve/http/field_value.h"

namespace fathom::http {
namespace {

constexpr std::size_t kMinKeyLength = 8;

std::string digest_of(std::string_view key) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return {digest.begin(), digest.end()};
}

std::string_view next_word(std::string_view& line) {
  line = trim(line);
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

// `name=N` into `value`; false when the word is something else.
bool read_limit(std::string_view word, std::string_view name, Index& value) {
  if (!word.starts_with(name) || word.substr(name.size(), 1) != "=") {
    return false;
  }
  const std::string_view number = word.substr(name.size() + 1);
  const auto [end, status] = std::from_chars(number.data(), number.data() + number.size(), value);
  return status == std::errc() && end == number.data() + number.size() && value >= 0;
}

// `where` names the file and the line.
ApiKey parse_key(std::string_view line, const std::string& where, Index line_idx, ApiKey key) {
  const std::string_view word = next_word(line);
  const std::size_t colon = word.find(':');
  const std::string_view secret = colon == std::string_view::npos ? word : word.substr(colon + 1);
  key.name = colon == std::string_view::npos ? "key" + std::to_string(line_idx)
                                             : std::string(word.substr(0, colon));
  if (key.name.empty() || secret.size() < kMinKeyLength) {
    fail(ErrorCode::InvalidArgument, where, ": expected KEY or NAME:KEY with a key of at least ",
         kMinKeyLength, " characters");
  }
  key.digest = digest_of(secret);
  while (!trim(line).empty()) {
    const std::string_view option = next_word(line);
    if (!read_limit(option, "concurrent", key.limits.num_concurrent) &&
        !read_limit(option, "per_minute", key.limits.num_per_minute)) {
      fail(ErrorCode::InvalidArgument, where,
           ": expected concurrent=N or per_minute=N behind the key");
    }
  }
  return key;
}

// What the request shows; empty when nothing.
std::string_view shown_key(const Request& request) {
  const std::string_view authorization = trim(request.header("authorization"));
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() > kScheme.size() &&
      equal_ignoring_case(authorization.substr(0, kScheme.size()), kScheme)) {
    return trim(authorization.substr(kScheme.size()));
  }
  return trim(request.header("x-api-key"));
}

// Takes as long for every key: neither its length nor how much of it is right shows.
const ApiKey* find_key(const std::vector<ApiKey>& keys, std::string_view shown) {
  const std::string digest = digest_of(shown);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys) {
    if (CRYPTO_memcmp(key.digest.data(), digest.data(), digest.size()) == 0) {
      found = &key;
    }
  }
  return found;
}

}  // namespace

KeyFile parse_keys(std::string_view text, const std::string& source, const KeyLimits& limits) {
  KeyFile file;
  Index line_idx = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_idx;
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    line = trim(line);
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    const std::string where = source + ", line " + std::to_string(line_idx);
    ApiKey key = parse_key(line, where, line_idx, {.name = {}, .digest = {}, .limits = limits});
    if (std::any_of(file.keys.begin(), file.keys.end(),
                    [&](const ApiKey& other) { return other.name == key.name; })) {
      fail(ErrorCode::InvalidArgument, where, ": a key of this name is above");
    }
    file.keys.push_back(std::move(key));
  }
  if (file.keys.empty()) {
    fail(ErrorCode::InvalidArgument, source, ": expected at least one key");
  }
  return file;
}

KeyFile read_key_file(const std::string& path, const KeyLimits& limits) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  // A folder can be opened and reads as if it were empty.
  if (!stream.is_open() || std::filesystem::is_directory(path)) {
    fail(ErrorCode::Io, "cannot read the API keys in ", path);
  }
  KeyFile file = parse_keys(text.str(), path, limits);
  struct stat info = {};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    file.warnings.push_back(path +
                            " holds API keys and every user of this machine may open it; "
                            "make it private with: chmod 600 " +
                            path);
  }
  return file;
}

ApiKeys::ApiKeys(std::vector<ApiKey> keys) : shared_(std::make_shared<Shared>()) {
  shared_->keys = std::move(keys);
}

void ApiKeys::replace(std::vector<ApiKey> keys) {
  const std::scoped_lock lock(shared_->mutex);
  shared_->keys = std::move(keys);
}

ApiKeys::Admission ApiKeys::admit(const Request& request,
                                  std::chrono::steady_clock::time_point now) {
  const std::string_view shown = shown_key(request);
  if (shown.empty()) {
    return {.status = 401,
            .message =
                "expected an API key, as \"Authorization: Bearer KEY\" or \"x-api-key: "
                "KEY\""};
  }
  const std::scoped_lock lock(shared_->mutex);
  const ApiKey* key = find_key(shared_->keys, shown);
  if (key == nullptr) {
    return {.status = 401, .message = "the API key is not one of this server's"};
  }
  Usage& usage = shared_->usage[key->name];
  const KeyLimits& limits = key->limits;
  if (limits.num_concurrent > 0 && usage.num_running >= limits.num_concurrent) {
    return {.status = 429,
            .message = "the API key has " + std::to_string(usage.num_running) +
                       " requests running, as many as it may",
            .key_name = key->name,
            .retry_after_s = 1};
  }
  if (limits.num_per_minute > 0) {
    const auto per_minute = static_cast<double>(limits.num_per_minute);
    const double minutes = std::chrono::duration<double>(now - usage.counted_at).count() / 60;
    usage.num_allowed = usage.is_counted
                            ? std::min(per_minute, usage.num_allowed + minutes * per_minute)
                            : per_minute;
    usage.is_counted = true;
    usage.counted_at = now;
    if (usage.num_allowed < 1) {
      const double wait_s = (1 - usage.num_allowed) * 60 / per_minute;
      return {.status = 429,
              .message = "the API key may send " + std::to_string(limits.num_per_minute) +
                         " requests a minute",
              .key_name = key->name,
              .retry_after_s = static_cast<Index>(std::ceil(wait_s))};
    }
    usage.num_allowed -= 1;
  }
  ++usage.num_running;
  const auto release = [shared = shared_, name = key->name](void*) {
    const std::scoped_lock release_lock(shared->mutex);
    --shared->usage[name].num_running;
  };
  // The address only has to be one: the deleter does the work.
  return {.key_name = key->name, .lease = std::shared_ptr<void>(shared_.get(), release)};
}

}  // namespace fathom::http
