// fathom serve: an HTTP server for the clients of the OpenAI, Anthropic and Responses APIs.
#include <cctype>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fathom/base/core/error.h"
#include "fathom/serve/anthropic/messages.h"
#include "fathom/serve/engine/adapted_engine.h"
#include "fathom/serve/openai/responses.h"
#include "fathom/serve/openai/routes.h"
#include "fathom/serve/page/page.h"
#include "fathom/serve/wire/service.h"
#include "fathom/serve/wire/status_routes.h"
#include "fathom/serving.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/logged_engine.h"
#include "apps/fathom/serve_check.h"
#include "apps/fathom/serve_models.h"
#include "apps/fathom/serve_parts.h"
#include "apps/fathom/serve_settings.h"

namespace fathom::app {
namespace {

constexpr const char* kExample =
    "Example, with a small random model, and then one request from another terminal:\n"
    "  fathom synth --preset tiny --out /tmp/fathom-tiny.gguf --overwrite\n"
    "  fathom serve /tmp/fathom-tiny.gguf\n"
    "  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \\\n"
    "    -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 8}'\n"
    "http://127.0.0.1:8080/ in a browser is a page to chat with. docs/serving.md says more.";

using Engines = std::vector<std::shared_ptr<engine::LocalEngine>>;

http::Router make_router(const std::shared_ptr<wire::Service>& service) {
  http::Router router;
  wire::add_status_routes(router, service);
  openai::add_routes(router, service);
  openai::add_responses_routes(router, service);
  anthropic::add_routes(router, service);
  page::add_routes(router);
  return router;
}

// A model's name may hold what a file's may not.
std::string folder_name(std::string name) {
  for (char& letter : name) {
    const bool is_plain = std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '-' ||
                          letter == '_' || letter == '.';
    letter = is_plain ? letter : '_';
  }
  return name.empty() || name.front() == '.' ? "_" + name : name;
}

class Serving {
 public:
  explicit Serving(SettingsReader reader)
      : reader_(std::move(reader)),
        settings_(reader_.read()),
        options_(settings_.options),
        log_(std::make_shared<ServeLog>(options_.log)),
        access_(open_access(options_)),
        service_(std::make_shared<wire::Service>(
            wire::ServiceOptions{.strict_models = options_.is_strict,
                                 .num_stored = options_.num_stored,
                                 .replaces_unsupported = options_.replaces_unsupported,
                                 .sealing_secret = open_secret(options_.secret)})),
        server_(
            std::in_place, server_options(options_, log_), make_router(service_), access_.keys) {
    log_->set_logs_prompts(options_.logs_prompts);
  }

  void run(InterruptWatch& interrupts) {
    for (const std::string& warning : access_.warnings) {
      log_->event("warning", warning);
    }
    // Health checks are answered while the model is being loaded.
    server_->start();
    load();
    interrupts.set_on_hangup([this] { reload(); });
    print_out(fmt::format("fathom: listening on {}\n", url_of(*server_, options_)));
    interrupts.set_answer(InterruptWatch::Answer::FlagBoth);
    interrupts.wait();
    // A second signal ends the program at once.
    interrupts.set_answer(InterruptWatch::Answer::EndProcess);
    drain();
  }

 private:
  void load() {
    std::vector<wire::ServedModel> models;
    std::vector<NamedAdapter> adapters = named_adapters(options_);
    for (const ModelPlan& plan : plan_models(options_)) {
      log_->event("load", plan.path);
      ModelOptions model = model_options(options_, plan);
      model.on_warning = [log = log_](const std::string& text) { log->event("warning", text); };
      const auto local =
          open_engine(plan.path, model, engine_options(plan), options_.dialect, adapters);
      engines_.push_back(local);
      models.push_back(served(plan.name, local));
      for (const NamedAdapter& adapter : std::exchange(adapters, {})) {  // of the first model
        log_->event("load", adapter.path);
        models.push_back(
            served(adapter.name, std::make_shared<engine::AdaptedEngine>(
                                     local, adapter.name, limits_of(*local, adapter.name))));
      }
    }
    service_->publish(std::move(models));
    log_->event("ready", url_of(*server_, options_));
  }

  wire::ServedModel served(const std::string& name, std::shared_ptr<engine::Engine> engine) const {
    return {.name = name,
            .engine = std::make_shared<LoggedEngine>(std::move(engine), log_),
            .created_s = std::time(nullptr)};
  }

  engine::EngineOptions engine_options(const ModelPlan& plan) const {
    return {.max_running = options_.max_running,
            .max_waiting = options_.max_waiting,
            .cache_budget_bytes = plan.cache_budget_bytes,
            .snapshots = snapshot_options(plan)};
  }

  // Each model has a folder of its own in it.
  engine::SnapshotOptions snapshot_options(const ModelPlan& plan) const {
    if (options_.snapshots.empty()) {
      return {};
    }
    return {.folder = (std::filesystem::path(options_.snapshots) / folder_name(plan.name)).string(),
            .budget_bytes = static_cast<std::int64_t>(options_.snapshot_budget_bytes) /
                            static_cast<std::int64_t>(1 + options_.more_models.size()),
            .on_note = [log = log_](const std::string& note) { log->event("snapshots", note); }};
  }

  // What is wrong with the settings changes nothing.
  void reload() {
    try {
      const ServeSettings fresh = reader_.read();
      std::vector<std::string> for_restart = settings_for_restart(settings_, fresh);
      if (fresh.options.keys.empty() == (access_.keys == nullptr)) {
        apply_keys(fresh.options);
      } else {
        for_restart.emplace_back("api-keys");  // whether keys are asked for at all
      }
      if (!fresh.options.log.empty() || !options_.log.empty()) {
        log_->reopen(fresh.options.log);
      }
      log_->set_logs_prompts(fresh.options.logs_prompts);
      options_.log = fresh.options.log;
      options_.drain_s = fresh.options.drain_s;
      log_->event("reload", "the settings were read again");
      if (!for_restart.empty()) {
        log_->event("reload", fmt::format("these settings need a restart to take effect: {}",
                                          fmt::join(for_restart, ", ")));
      }
    } catch (const Error& error) {
      log_->problem(fmt::format("the settings stay as they were: {}", error.what()));
    }
  }

  void apply_keys(const ServeOptions& options) {
    if (access_.keys != nullptr) {
      for (const std::string& warning : reload_keys(options, *access_.keys)) {
        log_->event("warning", warning);
      }
    }
  }

  void drain() {
    const auto limit = std::chrono::seconds(options_.drain_s);
    log_->event("drain", fmt::format("running requests get {} s", options_.drain_s));
    for (const auto& engine : engines_) {
      engine->drain();
    }
    server_->stop(std::chrono::duration_cast<http::Milliseconds>(limit));
    server_.reset();
    service_.reset();
    engines_.clear();  // what waits to be written to disk is
    log_->event("stopped", "");
  }

  SettingsReader reader_;
  const ServeSettings settings_;  // those it was started with
  ServeOptions options_;          // those in effect
  std::shared_ptr<ServeLog> log_;
  ServeAccess access_;
  std::shared_ptr<wire::Service> service_;
  Engines engines_;
  std::optional<http::Server> server_;  // goes first: its routes hold the rest
};

void serve(const CLI::App& command, InterruptWatch& interrupts) {
  SettingsReader reader(command);
  const ServeOptions options = reader.read().options;
  if (options.is_check) {
    check_serve(options);
    return;
  }
  Serving(std::move(reader)).run(interrupts);
}

}  // namespace

Command add_serve(CLI::App& program) {
  auto* command = program.add_subcommand(
      "serve", "Answer requests over HTTP: the OpenAI, Anthropic and Responses APIs, and a page");
  command->footer(kExample);
  auto options = std::make_shared<ServeOptions>();
  add_serve_options(*command, *options);
  // `options` only holds what is parsed first: it is read again from what was said.
  return {command, [command, options](InterruptWatch& interrupts) { serve(*command, interrupts); }};
}

}  // namespace fathom::app
