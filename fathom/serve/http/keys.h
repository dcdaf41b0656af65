// API keys: who may ask, and how much.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::http {

// 0: no limit.
struct KeyLimits {
  Index num_concurrent = 0;
  Index num_per_minute = 0;
};

// Keys are kept as their SHA-256 alone.
struct ApiKey {
  std::string name;
  std::string digest;
  KeyLimits limits;
};

struct KeyFile {
  std::vector<ApiKey> keys;
  std::vector<std::string> warnings;  // for whoever runs the server
};

// One key a line: `KEY` or `NAME:KEY`, and behind it, if its limits are others than `limits`,
// `concurrent=N` and `per_minute=N`. Lines that begin with # are comments. Throws Io (no such file)
// or InvalidArgument (naming the line, never what is in it).
KeyFile read_key_file(const std::string& path, const KeyLimits& limits);
// The same of a text; `source` is named in messages.
KeyFile parse_keys(std::string_view text, const std::string& source, const KeyLimits& limits);

class ApiKeys {
 public:
  explicit ApiKeys(std::vector<ApiKey> keys);

  // From the next request on; counts of names that stay are kept.
  void replace(std::vector<ApiKey> keys);

  struct Admission {
    int status = 200;  // 401 or 429 when refused
    std::string message = {};
    std::string key_name = {};
    Index retry_after_s = 0;
    std::shared_ptr<void> lease = {};  // counts as one of the key's requests until it is destroyed
  };
  // `request` shows its key as `Authorization: Bearer KEY` or `x-api-key: KEY`.
  Admission admit(const Request& request, std::chrono::steady_clock::time_point now);

 private:
  struct Usage {
    Index num_running = 0;
    double num_allowed = 0;  // requests left; grows with time up to a minute's worth
    std::chrono::steady_clock::time_point counted_at;
    bool is_counted = false;
  };
  struct Shared {
    std::mutex mutex;
    std::vector<ApiKey> keys;
    std::map<std::string, Usage> usage;
  };

  std::shared_ptr<Shared> shared_;
};

}  // namespace fathom::http
