// The settings of a server that runs: those of its command line, and those of a file that may be
// read again.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "apps/fathom/serve_options.h"

namespace fathom::app {

struct ServeSettings {
  ServeOptions options;
  // What was said, by the option's name without dashes; several values with a space between.
  std::map<std::string, std::string> values;
};

class SettingsReader {
 public:
  // Takes over what the command line said, which goes before the file.
  explicit SettingsReader(const CLI::App& command);

  // With the file as it is at the moment, if the command line names one. Throws Io or
  // InvalidArgument naming the file and the setting.
  ServeSettings read() const;

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> given_;
  std::string file_;
};

// Settings that take effect while the server runs.
bool is_live(const std::string& setting);

// The names of other settings that have not the same value in both.
std::vector<std::string> settings_for_restart(const ServeSettings& a, const ServeSettings& b);

}  // namespace fathom::app
