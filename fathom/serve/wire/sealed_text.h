// Text that a client keeps for us and cannot read or change: reasoning between two turns.
//
// AES-256-GCM by OpenSSL, in base64. What does not come from the same key, or was altered, or is
// another client's, does not open.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::wire {

// Safe to use from several threads.
class TextSeal {
 public:
  // `secret`: any text; the same one opens what it sealed before a restart. Empty: drawn from the
  // system's random numbers.
  explicit TextSeal(std::string_view secret = {});

  // `owner`: the client it is for (the name of an API key).
  std::string seal(std::string_view owner, std::string_view text) const;
  std::optional<std::string> open(std::string_view owner, std::string_view sealed) const;

 private:
  std::array<std::uint8_t, 32> key_{};
};

}  // namespace fathom::wire
