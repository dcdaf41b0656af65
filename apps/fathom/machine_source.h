// Where the machines of `fathom plan` come from: a saved profile, a file, or the library.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "fathom/study/plan/machine.h"

namespace fathom::app {

// Where `fathom probe` saves the profile of this machine: fathom/machine.toml in $XDG_DATA_HOME,
// else in ~/.local/share. Throws InvalidArgument where neither is known.
std::filesystem::path default_profile_path();

struct MachineSource {
  plan::Machine machine;
  std::string origin;  // "saved profile PATH" or "known machine"
};
// What --machine names (a known machine, or a .toml file with one machine); where it names nothing,
// the saved profile; nothing without either. What speeds need and the
// machine lacks is assumed and labelled so (plan::assume_missing).
std::optional<MachineSource> find_machine_source(const std::string& option);

}  // namespace fathom::app
