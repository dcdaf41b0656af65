// The tokenizer of what a person names on the command line, and texts and ids from files.
#pragma once

#include <memory>
#include <string>

#include "fathom/model/text/tokenizer.h"

namespace fathom::app {

// A folder with tokenizer.json, a tokenizer.json itself, a .gguf file (of a split set: any part) or
// a .safetensors file with tokenizer.json beside it. Throws Io or InvalidArgument when there is no
// tokenizer, and what the readers throw.
std::shared_ptr<const text::Tokenizer> open_tokenizer(const std::string& name);

// The bytes of a file, or of standard input for an empty name. Throws Io.
std::string read_input(const std::string& file);

// The same as text: bytes that are not UTF-8 become U+FFFD, one per maximal bad sequence, and
// standard error says so once.
std::string read_text_input(const std::string& file);

}  // namespace fathom::app
