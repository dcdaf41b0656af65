// A request that was checked and turned into tokens, ready for the queue.
//
// Preparing is done by the thread that has the request, so that long prompts do not hold up the
// engine, and so that whatever is wrong with a request is known before it waits.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fathom/model/sampling/generation.h"
#include "fathom/model/text/reply_parser.h"
#include "fathom/model/text/reply_syntax.h"
#include "fathom/model/text/text_model.h"
#include "fathom/serve/engine/request.h"

namespace fathom::engine {

struct ModelLimits;

struct PreparedRequest {
  GenerateRequest request;  // its prompt moved out
  std::vector<TokenId> prompt_ids;
  // For one choice; its index is set for each.
  sampling::GenerationOptions generation;
  // How a reply is read.
  std::shared_ptr<const text::ReplySyntax> syntax;
  text::ReplyStart reply_start = text::ReplyStart::Content;
  std::string forced_tool = {};  // for ReplyStart::ToolArguments

  Index num_prompt_tokens() const { return to_index(prompt_ids.size()); }
};

// A model's text, and what is made once for many requests: the vocabulary of constraints and
// compiled constraints. Safe to use from several threads.
class TextServices {
 public:
  // Throws InvalidCheckpoint when the tokenizer has ids that the model has no logits for.
  TextServices(text::TextModel model, Index vocab_size);

  const text::TextModel& model() const { return model_; }
  const text::Tokenizer& tokenizer() const { return *model_.tokenizer; }

  // Null for ContentRule::Free. Throws what compiling throws.
  sampling::ConstraintPtr constraint(const ContentRule& rule) const;
  // What calls of these tools have to be. Throws Unsupported without a token that marks calls up,
  // and what compiling throws; names the field of the schema that is wrong.
  sampling::ConstraintPtr call_constraint(std::span<const text::Tool> tools) const;
  // Control tokens that are no part of a reply: whichever comes ends it.
  const std::vector<TokenId>& ending_ids() const { return ending_ids_; }

 private:
  sampling::ConstraintVocabularyPtr vocabulary() const;
  template <typename Compile>
  sampling::ConstraintPtr compiled(const std::string& key, const Compile& compile) const;

  text::TextModel model_;
  std::vector<TokenId> ending_ids_;
  mutable std::mutex mutex_;
  mutable sampling::ConstraintVocabularyPtr vocabulary_;
  // The latest few, by kind and text.
  mutable std::vector<std::pair<std::string, sampling::ConstraintPtr>> compiled_;
};

// Whether a control token is markup inside a reply, by its text; any other one ends it.
bool is_reply_markup(std::string_view token);

// Throws InvalidArgument for what is out of range and for a conversation that the model's format
// refuses, Unsupported for what the model cannot do, ContextTooLong for a prompt that leaves no
// room; all name the field.
PreparedRequest prepare(GenerateRequest request,
                        const TextServices& text,
                        const ModelLimits& limits);

}  // namespace fathom::engine
