// What `fathom serve` can be told, on the command line and in a settings file.
#pragma once

#include <string>
#include <vector>

#include "apps/fathom/options.h"

namespace fathom::app {

struct ServeOptions {
  RunOptions run = RunOptions::with_numerics("fast");  // docs/numerics.md says why it may
  std::string config;                                  // a settings file
  std::string dialect;
  std::string name;                      // of the model; empty: after its file
  std::vector<std::string> more_models;  // NAME=PATH
  std::vector<std::string> adapters;     // NAME=PATH, or PATH, of the first model
  std::string listen = "127.0.0.1:8080";
  std::string keys;  // a file
  bool is_open_on_purpose = false;
  Index key_concurrent = 0;  // 0: no limit
  Index key_per_minute = 0;
  std::string tls_certificate;
  std::string tls_key;
  std::vector<std::string> cors_origins;
  std::vector<std::string> allowed_hosts;
  Index max_connections = 1024;
  std::uint64_t max_body_bytes = std::uint64_t{64} << 20;
  Index max_running = 32;
  Index max_waiting = 256;
  std::string snapshots;  // a folder
  std::uint64_t snapshot_budget_bytes = std::uint64_t{8} << 30;
  bool is_strict = false;
  Index num_stored = 1000;
  std::string secret;  // a file
  bool replaces_unsupported = false;
  Index drain_s = 120;
  std::string log;  // a file; empty: stderr
  bool logs_prompts = false;
  bool is_check = false;
};

void add_serve_options(CLI::App& command, ServeOptions& options);

// Sets the options that the command line did not, from the settings file if there is one. Throws Io
// or InvalidArgument naming the file and the setting.
void apply_config(CLI::App& command, const std::string& path);

}  // namespace fathom::app
