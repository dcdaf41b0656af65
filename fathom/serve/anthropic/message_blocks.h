// The messages and content blocks of a Messages request as a conversation.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/wire/service.h"

namespace fathom::anthropic {

// The text of `system`: a string or a list of text blocks, which are parts of one message. What
// Claude Code writes there about itself changes with every request, so it is left out: it would
// end the cached prefix where it begins. Throws InvalidArgument naming the block.
std::vector<text::ContentPart> read_system(const text::JsonField& field);

// Throws InvalidArgument for what is wrong, Unsupported for content that no text model reads,
// naming the block.
class MessageBlocks {
 public:
  // `owner`: whose signatures open.
  MessageBlocks(const wire::Service& service, std::string owner)
      : service_(&service), owner_(std::move(owner)) {}

  // What was said before, whose calls may be answered.
  void add_history(const std::vector<text::Message>& messages);
  void add(const text::JsonField& messages);

  const std::vector<text::Message>& messages() const { return messages_; }

 private:
  void add_message(const text::JsonField& field);
  void add_user(const text::JsonField& content);
  void add_assistant(const text::JsonField& content);
  void add_result(const text::JsonField& block);
  std::string read_thinking(const text::JsonField& block) const;
  // Appends what a block of a user or of a result says; nothing for what says nothing to us.
  void read_part(const text::JsonField& block, std::vector<text::ContentPart>& parts) const;
  void read_document(const text::JsonField& block, std::vector<text::ContentPart>& parts) const;
  std::vector<text::ContentPart> read_parts(const text::JsonField& content) const;
  void replace(const text::JsonField& block, std::vector<text::ContentPart>& parts) const;

  const wire::Service* service_;
  std::string owner_;
  std::vector<text::Message> messages_;
  std::set<std::string> call_ids_;
};

}  // namespace fathom::anthropic
