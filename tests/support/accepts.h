// Whether a grammar accepts a whole text, or a text as the beginning of one.
#pragma once

#include <string_view>
#include <utility>

#include "fathom/model/sampling/automaton.h"

namespace fathom::testing {

inline bool accepts(sampling::Automaton& automaton, std::string_view text) {
  return automaton.accepts(automaton.step(automaton.start(), text));
}

inline bool accepts(sampling::Grammar grammar, std::string_view text) {
  sampling::Automaton automaton(std::move(grammar));
  return accepts(automaton, text);
}

inline bool is_beginning(sampling::Automaton& automaton, std::string_view text) {
  return automaton.step(automaton.start(), text) != sampling::Automaton::kDead;
}

}  // namespace fathom::testing
