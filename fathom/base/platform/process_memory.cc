#include "fathom/base/platform/process_memory.h"

#include <fstream>
#include <string>

namespace fathom::platform {

std::optional<Index> peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  std::string key;
  while (status >> key) {
    if (key == "VmHWM:") {
      Index kibibytes = 0;
      if (status >> kibibytes) {
        return kibibytes * 1024;
      }
      return std::nullopt;
    }
    status.ignore(1024, '\n');
  }
  return std::nullopt;
}

}  // namespace fathom::platform
