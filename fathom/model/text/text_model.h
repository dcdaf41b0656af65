// What a model knows about text: its tokenizer and how it wants its conversations.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::text {

struct TextModel {
  std::shared_ptr<const Tokenizer> tokenizer;
  // Null where the model has no form of conversation that we know; `no_format` says why.
  std::shared_ptr<const ChatFormat> format;
  std::string no_format;
  std::vector<TokenId> stop_ids;        // end a reply whenever they are sampled
  std::optional<TokenId> raw_text_bos;  // goes in front of text that is no conversation
};

// What follows from the two; the format may be null.
TextModel make_text_model(std::shared_ptr<const Tokenizer> tokenizer,
                          std::shared_ptr<const ChatFormat> format);

}  // namespace fathom::text
