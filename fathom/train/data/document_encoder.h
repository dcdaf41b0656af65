// Documents to tokens, with what counts as a target.
#pragma once

#include <cstdint>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/text_model.h"
#include "fathom/train/data/documents.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {

struct EncodedDocument {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> counts;  // a 0 or 1 per token; empty: all count
};

// A text is its tokens between what begins a text (where the model has such a token) and what ends
// one; it never becomes a control token. A conversation is rendered as it is when the model is
// asked, and only what the model would have written counts: replies with their reasoning, calls and
// end token. It is one document where every reply stands behind the prompt it would have had; where
// not (old reasoning is dropped from prompts), every reply is a document with its own prompt.
class DocumentEncoder {
 public:
  // Throws InvalidArgument for a tokenizer without a token that ends texts.
  explicit DocumentEncoder(text::TextModel model);

  Index vocabulary_size() const { return model_.tokenizer->num_ids(); }
  const Hash128& fingerprint() const { return fingerprint_; }

  // Appends. Throws InvalidArgument for a conversation that the format refuses or that has no
  // reply, Unsupported for a model without a format, naming the document's place. For several
  // threads.
  void encode(const Document& document, std::vector<EncodedDocument>& encoded) const;

 private:
  // The prompt with a reply, up to the reply's end.
  struct Reply {
    std::vector<std::int32_t> tokens;
    std::size_t first;  // the reply's own ones are those from here on
  };

  EncodedDocument encode_text(std::string_view text) const;
  void encode_conversation(const Document& document, std::vector<EncodedDocument>& encoded) const;
  std::vector<Reply> replies_of(const text::Conversation& conversation,
                                const text::RenderOptions& options) const;
  Reply cut_reply(const text::Prompt& rendered, std::size_t reply_begin) const;

  text::TextModel model_;
  Hash128 fingerprint_;
  text::TokenId end_id_ = 0;
};

}  // namespace fathom::data
