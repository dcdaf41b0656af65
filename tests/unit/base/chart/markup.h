// Checks markup: every tag is closed in its order, and every & is a reference.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::testing {

inline ::testing::AssertionResult is_well_formed(const std::string& markup) {
  std::vector<std::string> open;
  std::size_t at = 0;
  while ((at = markup.find_first_of("<&", at)) != std::string::npos) {
    if (markup[at] == '&') {
      const std::size_t end = markup.find(';', at);
      if (end == std::string::npos || end - at > 6) {
        return ::testing::AssertionFailure() << "a lone & at " << markup.substr(at, 40);
      }
      at = end;
      continue;
    }
    const std::size_t end = markup.find('>', at);
    if (end == std::string::npos) {
      return ::testing::AssertionFailure() << "a tag without an end";
    }
    const std::string tag = markup.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /!", 1));
    const bool is_void = tag[0] == '!' || tag.back() == '/' || name == "meta";
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) {
        return ::testing::AssertionFailure() << "<" << tag << "> closes nothing that is open";
      }
      open.pop_back();
    } else if (!is_void) {
      open.push_back(name);
    }
    at = end;
  }
  if (!open.empty()) {
    return ::testing::AssertionFailure() << "<" << open.back() << "> is never closed";
  }
  return ::testing::AssertionSuccess();
}

inline std::size_t count_of(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace fathom::testing
