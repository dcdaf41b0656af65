// The input items of a Responses request as messages of a conversation.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_field.h"
#include "fathom/serve/openai/responses_tools.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

// Reasoning, text and calls that follow each other are one message of the assistant. Items that
// hosted tools leave behind say nothing to us and are skipped. All throw InvalidArgument, or
// Unsupported for content that no text model reads, naming the item.
class ResponsesInput {
 public:
  // `owner`: whose stored items may be referred to. `tools` gets what items declare.
  ResponsesInput(wire::Service& service, std::string owner, ResponsesTools& tools)
      : service_(&service), owner_(std::move(owner)), tools_(&tools) {}

  // What was said before, whose calls may be answered.
  void add_history(const std::vector<text::Message>& messages);
  // A text, or a list of items.
  void add(const text::JsonField& input);

  const std::vector<text::Message>& messages() const { return messages_; }

 private:
  void add_item(const text::JsonField& item);
  void add_message(const text::JsonField& item);
  void add_reasoning(const text::JsonField& item);
  void add_call(const text::JsonField& item, std::string name, std::string arguments);
  void add_output(const text::JsonField& item);
  void add_reference(const text::JsonField& item);
  // Whether it was a call, or the output of one.
  bool add_call_item(const text::JsonField& item, const std::string& type);
  std::vector<text::ContentPart> read_content(const text::JsonField& field) const;
  text::ContentPart read_part(const text::JsonField& part) const;
  // The assistant's message that an item goes on; `begins` says that it comes before text and
  // calls, so that a message which has some is complete.
  text::Message& assistant(bool begins);

  wire::Service* service_;
  std::string owner_;
  ResponsesTools* tools_;
  std::vector<text::Message> messages_;
  std::set<std::string> call_ids_;
};

}  // namespace fathom::openai
