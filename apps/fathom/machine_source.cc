#include "apps/fathom/machine_source.h"

#include <cstdlib>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

plan::Machine read_profile(const fs::path& path) {
  const auto machines = plan::parse_machines(platform::read_file(path), path.string());
  if (machines.size() != 1) {
    fail(ErrorCode::InvalidArgument, path.string(), ": found ", machines.size(),
         " machines, expected one");
  }
  return machines.front();
}

// Before any thread starts: nobody changes the environment.
const char* environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): see above
  return value == nullptr || *value == '\0' ? nullptr : value;
}

MachineSource named(const std::string& option) {
  if (option.ends_with(".toml")) {
    return {read_profile(option), "saved profile " + option};
  }
  return {plan::find_machine(option), "known machine"};
}

}  // namespace

fs::path default_profile_path() {
  constexpr const char* kName = "fathom/machine.toml";
  if (const char* data = environment("XDG_DATA_HOME")) {
    return fs::path(data) / kName;
  }
  if (const char* home = environment("HOME")) {
    return fs::path(home) / ".local/share" / kName;
  }
  fail(ErrorCode::InvalidArgument,
       "profile: neither XDG_DATA_HOME nor HOME is set: name a file (fathom probe --out FILE, "
       "fathom plan --machine FILE.toml)");
}

std::optional<MachineSource> find_machine_source(const std::string& option) {
  std::optional<MachineSource> source;
  if (!option.empty()) {
    source = named(option);
  } else {
    const bool has_home = environment("XDG_DATA_HOME") != nullptr || environment("HOME") != nullptr;
    std::error_code ignored;
    if (!has_home || !fs::is_regular_file(default_profile_path(), ignored)) {
      return std::nullopt;
    }
    const fs::path path = default_profile_path();
    source = MachineSource{read_profile(path), "saved profile " + path.string()};
  }
  plan::assume_missing(source->machine);
  return source;
}

}  // namespace fathom::app
