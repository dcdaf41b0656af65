#include "fathom/model/text/prompt.h"

namespace fathom::text {

void append(Prompt& prompt, std::string_view text, bool is_trusted) {
  if (text.empty()) {
    return;
  }
  if (prompt.empty() || prompt.back().is_trusted != is_trusted) {
    prompt.push_back({.text = {}, .is_trusted = is_trusted});
  }
  prompt.back().text += text;
}

std::string text_of(const Prompt& prompt) {
  std::string text;
  for (const PromptPart& part : prompt) {
    text += part.text;
  }
  return text;
}

}  // namespace fathom::text
