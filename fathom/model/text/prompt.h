// A prompt between rendering and tokens: which of its text may hold control tokens.
//
// Untrusted text never becomes a control token: a web page or a tool result that spells <｜User｜>
// cannot forge a turn (text specification 1.5).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

class Tokenizer;

struct PromptPart {
  std::string text;         // UTF-8
  bool is_trusted = false;  // our own template: the control tokens it spells are control tokens
};

using Prompt = std::vector<PromptPart>;

// Appends text; neighbours of equal trust become one part.
void append(Prompt& prompt, std::string_view text, bool is_trusted);

// The whole text, trusted or not.
std::string text_of(const Prompt& prompt);

// Token ids of a prompt. Only control tokens are borders: text on both sides of a seam between
// parts is one text to the tokenizer, since pieces and merges cross such seams (1.5).
std::vector<std::int32_t> encode(const Tokenizer& tokenizer, const Prompt& prompt);

}  // namespace fathom::text
