// Bytes and texts that a person hands over in a file or on standard input.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace fathom::app {

// Hands the bytes of a file, which may be a pipe, or of standard input for "" and "-", on as they
// come. Throws Io.
void read_pieces(const std::string& file, const std::function<void(std::string_view)>& take);

// The bytes of a file, or of standard input for "" and "-". Throws Io.
std::string read_input(const std::string& file);

// The bytes as text: what is not UTF-8 becomes U+FFFD, one per maximal bad sequence, and standard
// error says so once, naming the source.
std::string repaired_text(const std::string& bytes, const std::string& source);

// read_input as text, repaired.
std::string read_text_input(const std::string& file);

}  // namespace fathom::app
