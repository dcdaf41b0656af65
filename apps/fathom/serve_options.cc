#include "apps/fathom/serve_options.h"

#include <sstream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/formats/toml_table.h"

#include "apps/fathom/input.h"

namespace fathom::app {
namespace {

constexpr const char* kAccess = "Who may ask";
constexpr const char* kCapacity = "How much at a time";
constexpr const char* kModels = "What is served";
constexpr const char* kRunning = "Running it";

void add_model_group(CLI::App& command, ServeOptions& options) {
  // Not required here: a settings file may name it.
  command.add_option("model", options.run.model, "Checkpoint: a folder, .safetensors or .gguf")
      ->type_name("MODEL");
  command.add_option("--name", options.name, "What clients call it (default: after its file)")
      ->type_name("NAME")
      ->group(kModels);
  command.add_option("--also", options.more_models, "One more model; may be repeated")
      ->type_name("NAME=PATH")
      ->group(kModels);
  command
      .add_option("--lora", options.adapters,
                  "A low-rank adapter (LoRA) of the first model, served as a model of its own; may "
                  "be repeated (default name: its folder's)")
      ->type_name("[NAME=]ADAPTER")
      ->group(kModels);
  command
      .add_option("--dialect", options.dialect,
                  "DeepSeek-V4's prompts: preview or 0731 (default: as the model's folder tells)")
      ->type_name("NAME")
      ->group(kModels);
  command
      .add_flag("--strict-models", options.is_strict,
                "Refuse names that are not served, instead of answering with the first model")
      ->group(kModels);
  command
      .add_flag("--replace-unsupported", options.replaces_unsupported,
                "Put a line of text where a request holds an image, instead of refusing it")
      ->group(kModels);
}

void add_access_group(CLI::App& command, ServeOptions& options) {
  command.add_option("--listen", options.listen, "Address; other machines may ask only with a key")
      ->capture_default_str()
      ->type_name("HOST:PORT")
      ->group(kAccess);
  command
      .add_option("--api-keys", options.keys,
                  "API keys, one KEY or NAME:KEY a line; read again on SIGHUP")
      ->type_name("FILE")
      ->group(kAccess);
  command.add_flag("--no-auth", options.is_open_on_purpose, "Let everybody ask, from anywhere")
      ->group(kAccess);
  command
      .add_option("--key-concurrent", options.key_concurrent,
                  "Requests of one key at a time (default: no limit)")
      ->check(CLI::Range(Index{0}, kMaxCount))
      ->type_name("N")
      ->group(kAccess);
  command
      .add_option("--key-per-minute", options.key_per_minute,
                  "Requests of one key a minute (default: no limit)")
      ->check(CLI::Range(Index{0}, kMaxCount))
      ->type_name("N")
      ->group(kAccess);
  command.add_option("--tls-cert", options.tls_certificate, "Serve HTTPS: PEM with the chain")
      ->type_name("FILE")
      ->group(kAccess);
  command
      .add_option("--tls-key", options.tls_key, "Its key (default: in the file of the certificate)")
      ->type_name("FILE")
      ->group(kAccess);
  command
      .add_option("--cors-origin", options.cors_origins,
                  "Let pages of this origin ask (https://a.example, or *); may be repeated")
      ->type_name("ORIGIN")
      ->group(kAccess);
  command
      .add_option("--allow-host", options.allowed_hosts,
                  "Without keys: answer to this name too (host.docker.internal, or *); may be "
                  "repeated")
      ->type_name("NAME")
      ->group(kAccess);
}

void add_capacity_group(CLI::App& command, ServeOptions& options) {
  command.add_option("--max-running", options.max_running, "Replies computed side by side")
      ->check(CLI::Range(Index{1}, Index{512}))
      ->capture_default_str()
      ->type_name("N")
      ->group(kCapacity);
  command
      .add_option("--max-waiting", options.max_waiting,
                  "Requests that wait; further ones are told to come again (429)")
      ->check(CLI::Range(Index{0}, kMaxCount))
      ->capture_default_str()
      ->type_name("N")
      ->group(kCapacity);
  command.add_option("--max-connections", options.max_connections, "Connections at a time")
      ->check(CLI::Range(Index{1}, kMaxCount))
      ->capture_default_str()
      ->type_name("N")
      ->group(kCapacity);
  command.add_option("--max-body", options.max_body_bytes, "Size of a request (default: 64MB)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES")
      ->group(kCapacity);
  command
      .add_option("--store", options.num_stored,
                  "Responses and threads kept for requests that go on from them; 0: none")
      ->check(CLI::Range(Index{0}, kMaxCount))
      ->capture_default_str()
      ->type_name("N")
      ->group(kCapacity);
  command
      .add_option("--secret", options.secret,
                  "What seals reasoning that clients keep, made if it is not there (default: "
                  "another one each start)")
      ->type_name("FILE")
      ->group(kCapacity);
  command
      .add_option("--snapshots", options.snapshots,
                  "Keep what conversations computed in this folder, also across restarts")
      ->type_name("FOLDER")
      ->group(kCapacity);
  command
      .add_option("--snapshot-budget", options.snapshot_budget_bytes,
                  "Size of that folder at most (default: 8GB)")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES")
      ->group(kCapacity);
}

void add_running_group(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--config", options.config,
                  "Settings (TOML): options without their dashes; the command line goes before")
      ->type_name("FILE")
      ->group(kRunning);
  command
      .add_option("--drain-timeout", options.drain_s,
                  "Seconds that running requests get to end on SIGTERM")
      ->check(CLI::Range(Index{0}, Index{86400}))
      ->capture_default_str()
      ->type_name("S")
      ->group(kRunning);
  command.add_option("--log", options.log, "Log, one JSON object a line (default: stderr)")
      ->type_name("FILE")
      ->group(kRunning);
  command.add_flag("--log-prompts", options.logs_prompts, "Log prompts and replies too")
      ->group(kRunning);
  command
      .add_flag("--check", options.is_check,
                "Only say whether it would start, and what would fit; loads nothing")
      ->group(kRunning);
}

}  // namespace

void add_serve_options(CLI::App& command, ServeOptions& options) {
  add_model_group(command, options);
  add_backend_options(command, options.run);
  add_context_options(command, options.run);
  add_access_group(command, options);
  add_capacity_group(command, options);
  add_running_group(command, options);
}

void apply_config(CLI::App& command, const std::string& path) {
  const std::string bytes = read_input(path);
  formats::TomlTable::parse(bytes, path);  // strict, unlike what reads the items
  std::istringstream text(bytes);
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(text);
  } catch (const CLI::Error& error) {
    fail(ErrorCode::InvalidArgument, path, ": ", error.what());
  }
  for (const CLI::ConfigItem& item : items) {
    CLI::Option* option = command.get_option_no_throw("--" + item.name);
    option =
        option == nullptr && item.name == "model" ? command.get_option_no_throw("model") : option;
    if (option == nullptr || !item.parents.empty() || item.name == "config" ||
        item.name == "check" || item.name == "help") {
      fail(ErrorCode::InvalidArgument, path, ": no setting ", formats::quote(item.fullname()),
           " (fathom serve --help lists them)");
    }
    if (option->count() > 0) {
      continue;
    }
    try {
      option->add_result(item.inputs);
      option->run_callback();
    } catch (const CLI::Error& error) {
      fail(ErrorCode::InvalidArgument, path, ": ", item.name, ": ", error.what());
    }
  }
}

}  // namespace fathom::app
