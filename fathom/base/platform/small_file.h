// Whole small files as text: a config, a tokenizer, a report. What is large is mapped, or written
// piece by piece.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fathom::platform {

// Both throw Io with the path and the system's reason.
std::string read_file(const std::filesystem::path& path);
// Appears under its name when it is complete and on the disk, over an older file.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace fathom::platform
