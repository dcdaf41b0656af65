#include "fathom/train/data/document_encoder.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/text/conversation_json.h"
#include "fathom/model/text/json_value.h"
#include "fathom/train/data/fingerprint.h"

namespace fathom::data {
namespace {

using text::Conversation;
using text::Message;
using text::Role;

// What a file of conversations means: complete replies, and reasoning where there is any.
text::ConversationFile read_example(const std::string& json, const std::string& place) {
  const text::JsonValue root = text::parse_json(json, place);
  text::ConversationFile file = text::read_conversation(root);
  std::vector<Message>& messages = file.conversation.messages;
  while (!messages.empty() && messages.back().role != Role::Assistant) {
    messages.pop_back();
  }
  if (messages.empty()) {
    fail(ErrorCode::InvalidArgument, "messages: found no reply of the assistant");
  }
  bool has_reasoning = false;
  for (Message& message : messages) {
    message.ending = text::Ending::Closed;
    has_reasoning = has_reasoning || !message.reasoning.empty();
  }
  if (root.find("thinking_mode") == nullptr) {
    file.options.thinking = has_reasoning;
  }
  return file;
}

Conversation first_messages(const Conversation& conversation, std::size_t count) {
  Conversation part = conversation;
  part.messages.resize(count);
  return part;
}

}  // namespace

DocumentEncoder::DocumentEncoder(text::TextModel model)
    : model_(std::move(model)), fingerprint_(fingerprint_of(*model_.tokenizer)) {
  if (model_.stop_ids.empty()) {
    fail(ErrorCode::InvalidArgument,
         "the tokenizer names no token that ends a text, so documents could not be told apart");
  }
  end_id_ = model_.stop_ids.front();
}

void DocumentEncoder::encode(const Document& document,
                             std::vector<EncodedDocument>& encoded) const {
  if (document.conversation.empty()) {
    encoded.push_back(encode_text(document.text));
    return;
  }
  try {
    encode_conversation(document, encoded);
  } catch (const Error& error) {
    const std::string message = error.what();
    throw Error(error.code(),
                message.starts_with(document.place) ? message : document.place + ": " + message);
  }
}

EncodedDocument DocumentEncoder::encode_text(std::string_view text) const {
  EncodedDocument encoded;
  if (model_.raw_text_bos) {
    encoded.tokens.push_back(*model_.raw_text_bos);
  }
  model_.tokenizer->encode(text, text::ControlTokens::Plain, encoded.tokens);
  encoded.tokens.push_back(end_id_);
  return encoded;
}

std::vector<DocumentEncoder::Reply> DocumentEncoder::replies_of(
    const Conversation& conversation, const text::RenderOptions& options) const {
  std::vector<Reply> replies;
  for (std::size_t i = 0; i < conversation.messages.size(); ++i) {
    if (conversation.messages[i].role != Role::Assistant) {
      continue;
    }
    const std::string prompt =
        text_of(model_.format->render(first_messages(conversation, i), options));
    const text::Prompt rendered =
        model_.format->render(first_messages(conversation, i + 1), options);
    if (!text_of(rendered).starts_with(prompt)) {
      fail(ErrorCode::InvalidArgument, "messages[", i,
           "]: the prompt with the reply does not begin with the prompt without it");
    }
    replies.push_back(cut_reply(rendered, prompt.size()));
  }
  return replies;
}

void DocumentEncoder::encode_conversation(const Document& document,
                                          std::vector<EncodedDocument>& encoded) const {
  if (model_.format == nullptr) {
    fail(ErrorCode::Unsupported, "a conversation for a model without a format: ",
         model_.no_format.empty() ? "it has none that is known" : model_.no_format);
  }
  const text::ConversationFile file = read_example(document.conversation, document.place);
  const std::vector<Reply> replies = replies_of(file.conversation, file.options);
  const std::vector<std::int32_t>& all = replies.back().tokens;
  const auto is_part = [&](const Reply& reply) {
    return reply.tokens.size() <= all.size() &&
           std::equal(reply.tokens.begin(), reply.tokens.end(), all.begin());
  };
  const bool is_one = std::all_of(replies.begin(), replies.end(), is_part);
  EncodedDocument one{.tokens = all, .counts = std::vector<std::uint8_t>(all.size())};
  for (const Reply& reply : replies) {
    EncodedDocument own{.tokens = reply.tokens,
                        .counts = std::vector<std::uint8_t>(reply.tokens.size())};
    std::vector<std::uint8_t>& counts = is_one ? one.counts : own.counts;
    std::fill(counts.begin() + to_index(reply.first),
              counts.begin() + to_index(reply.tokens.size()), std::uint8_t{1});
    if (!is_one) {
      encoded.push_back(std::move(own));
    }
  }
  if (is_one) {
    encoded.push_back(std::move(one));
  }
}

DocumentEncoder::Reply DocumentEncoder::cut_reply(const text::Prompt& rendered,
                                                  std::size_t reply_begin) const {
  Reply reply{.tokens = text::encode(*model_.tokenizer, rendered), .first = 0};
  const std::vector<text::TokenId>& ends = model_.stop_ids;
  std::size_t at = 0;  // byte of the text
  std::size_t end = reply.tokens.size();
  for (std::size_t i = 0; i < reply.tokens.size(); ++i) {
    const text::TokenId token = reply.tokens[i];
    // A token that began before the reply was not the reply's to choose.
    reply.first = at < reply_begin ? i + 1 : reply.first;
    // What a template puts behind the end of a reply is not the model's either.
    const bool is_end = std::find(ends.begin(), ends.end(), token) != ends.end();
    if (is_end && at >= reply_begin && end == reply.tokens.size()) {
      end = i + 1;
    }
    at += model_.tokenizer->bytes_of(token).size();
  }
  if (at != text_of(rendered).size()) {
    fail(ErrorCode::Unsupported,
         "conversations for this tokenizer: its tokens do not spell the text they stand for, so "
         "replies cannot be told from prompts");
  }
  reply.tokens.resize(end);
  return reply;
}

}  // namespace fathom::data
