// Names for what a server makes.
#pragma once

#include <string>
#include <string_view>

namespace fathom::wire {

// `prefix` and 24 characters of [0-9a-zA-Z] from the system's random numbers: nobody guesses one.
std::string new_id(std::string_view prefix);

}  // namespace fathom::wire
