// The published configuration files of both models, byte for byte.
#pragma once

#include <span>
#include <string_view>

namespace fathom::config {

struct BuiltinText {
  std::string_view name;
  std::string_view config;
  std::string_view inference_config;
};

std::span<const BuiltinText> builtin_texts();

}  // namespace fathom::config
