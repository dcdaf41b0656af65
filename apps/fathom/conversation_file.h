// A conversation kept in a file, in the form that `fathom render` and chat clients use.
#pragma once

#include <string>

#include "fathom/model/text/conversation.h"

namespace fathom::app {

// {"messages": [...], "tools": [...]}, written at once or not at all. Throws Io.
void save_conversation(const text::Conversation& conversation, const std::string& file);

// Throws Io, and what text::read_conversation throws.
text::Conversation load_conversation(const std::string& file);

}  // namespace fathom::app
