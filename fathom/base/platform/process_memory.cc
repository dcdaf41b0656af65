#include "fathom/base/platform/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace fathom::platform {
namespace {

// A line `KEY   123 kB` of a file of /proc, in bytes.
std::optional<Index> read_kibibytes(const char* file, const std::string& wanted) {
  std::ifstream lines(file);
  std::string key;
  while (lines >> key) {
    if (key == wanted) {
      Index kibibytes = 0;
      if (lines >> kibibytes) {
        return kibibytes * 1024;
      }
      return std::nullopt;
    }
    lines.ignore(1024, '\n');
  }
  return std::nullopt;
}

constexpr const char* kProcessStatus = "/proc/self/status";

}  // namespace

std::optional<Index> peak_resident_bytes() {
  return read_kibibytes(kProcessStatus, "VmHWM:");
}

bool reset_peak_resident() {
  std::ofstream references("/proc/self/clear_refs");
  constexpr char kResetPeak = '5';
  references << kResetPeak << std::flush;
  return references.good();
}

void give_back_free_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

std::optional<ResidentBytes> resident_bytes() {
  const auto anonymous = read_kibibytes(kProcessStatus, "RssAnon:");
  const auto file_mapped = read_kibibytes(kProcessStatus, "RssFile:");
  if (!anonymous || !file_mapped) {
    return std::nullopt;
  }
  return ResidentBytes{*anonymous, *file_mapped};
}

std::optional<Index> available_memory_bytes() {
  return read_kibibytes("/proc/meminfo", "MemAvailable:");
}

std::optional<Index> total_memory_bytes() {
  return read_kibibytes("/proc/meminfo", "MemTotal:");
}

}  // namespace fathom::platform
