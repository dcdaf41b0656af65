#include "apps/fathom/serve_settings.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace fathom::app {
namespace {

constexpr auto kLive = std::to_array<std::string_view>(
    {"api-keys", "key-concurrent", "key-per-minute", "log", "log-prompts", "drain-timeout"});

std::string plain_name(const CLI::Option& option) {
  const std::string name = option.get_name();
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

}  // namespace

SettingsReader::SettingsReader(const CLI::App& command) {
  for (const CLI::Option* const option : command.get_options()) {
    if (option->count() > 0) {
      given_.emplace_back(option->get_name(), option->results());
    }
    if (option->count() > 0 && plain_name(*option) == "config") {
      file_ = option->results().back();
    }
  }
}

ServeSettings SettingsReader::read() const {
  ServeSettings settings;
  CLI::App command;
  add_serve_options(command, settings.options);
  for (const auto& [name, results] : given_) {
    CLI::Option* const option = command.get_option(name);
    option->add_result(results);
    option->run_callback();
  }
  if (!file_.empty()) {
    apply_config(command, file_);
  }
  for (const CLI::Option* const option : command.get_options()) {
    std::string& value = settings.values[plain_name(*option)];
    for (const std::string& part : option->results()) {
      value += (value.empty() ? "" : " ") + part;
    }
  }
  return settings;
}

bool is_live(const std::string& setting) {
  return std::find(kLive.begin(), kLive.end(), setting) != kLive.end();
}

std::vector<std::string> settings_for_restart(const ServeSettings& a, const ServeSettings& b) {
  std::vector<std::string> changed;
  for (const auto& [name, value] : a.values) {
    const auto other = b.values.find(name);
    if (!is_live(name) && (other == b.values.end() || other->second != value)) {
      changed.push_back(name);
    }
  }
  return changed;
}

}  // namespace fathom::app
