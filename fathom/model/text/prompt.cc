#include "fathom/model/text/prompt.h"

#include "fathom/model/text/tokenizer.h"

namespace fathom::text {

void append(Prompt& prompt, std::string_view text, bool is_trusted) {
  if (text.empty()) {
    return;
  }
  if (prompt.empty() || prompt.back().is_trusted != is_trusted) {
    prompt.push_back({std::string(text), is_trusted});
  } else {
    prompt.back().text += text;
  }
}

std::string text_of(const Prompt& prompt) {
  std::string text;
  for (const PromptPart& part : prompt) {
    text += part.text;
  }
  return text;
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, const Prompt& prompt) {
  std::vector<TokenId> ids;
  std::string pending;  // text since the last control token
  const auto encode_pending = [&] {
    tokenizer.encode(pending, ControlTokens::Plain, ids);
    pending.clear();
  };
  for (const PromptPart& part : prompt) {
    std::string_view rest = part.text;
    if (part.is_trusted) {
      Index begin = 0;
      for (const ControlSpan& span : tokenizer.find_controls(part.text)) {
        pending += rest.substr(to_size(begin), to_size(span.begin - begin));
        encode_pending();
        ids.push_back(span.id);
        begin = span.end;
      }
      rest.remove_prefix(to_size(begin));
    }
    pending += rest;
  }
  encode_pending();
  return ids;
}

}  // namespace fathom::text
