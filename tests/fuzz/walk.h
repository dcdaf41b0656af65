// What the fuzz targets of constraints share: compile, walk a few bytes, look for dead ends.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/automaton.h"

namespace fathom::fuzz {

// Follows the grammar for up to 300 bytes, chosen by a hash of the source; returns the text when it
// got to an end. Aborts on a dead end and on errors that are not of the documented kinds.
template <typename Parse>
std::optional<std::string> walk_or_refuse(std::string_view source, const Parse& parse) {
  std::uint64_t state = 0x9E3779B97F4A7C15ULL;
  for (const char c : source) {
    state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  try {
    sampling::Automaton automaton(parse());
    std::string text;
    auto config = automaton.start();
    for (int length = 0; length < 300; ++length) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      if (automaton.accepts(config) && state % 8 == 0) {
        return text;
      }
      std::vector<char> allowed;
      for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(byte);
        if (automaton.step(config, std::string_view(&c, 1)) != sampling::Automaton::kDead) {
          allowed.push_back(c);
        }
      }
      if (allowed.empty()) {
        if (!automaton.accepts(config)) {
          std::abort();
        }
        return text;
      }
      text += allowed[state / 8 % allowed.size()];
      config = automaton.step(config, std::string_view(&text.back(), 1));
    }
  } catch (const Error& error) {
    const bool is_expected =
        error.code() == ErrorCode::InvalidArgument || error.code() == ErrorCode::Unsupported;
    if (!is_expected || std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
  return std::nullopt;
}

}  // namespace fathom::fuzz
