// How one model wants its conversations: the seam between whoever chats and the families' prompts.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/dialect.h"
#include "fathom/model/text/prompt.h"

namespace fathom::text {

// What a reply consists of.
enum class ReplyStyle {
  Plain,  // content
  Dsml,   // reasoning up to </think>, content, DSML tool calls
};

// The names of the tags that calls are made of, each after ｜DSML｜.
struct CallTags {
  std::string_view calls;
  std::string_view invoke;
  std::string_view parameter;
};

class ChatFormat {
 public:
  virtual ~ChatFormat() = default;

  virtual std::string_view name() const = 0;  // "preview", "llama-3", ...
  // Throws InvalidArgument for a conversation that the format refuses, Unsupported for what we
  // cannot write in it, naming the message.
  virtual Prompt render(const Conversation& conversation, const RenderOptions& options) const = 0;
  // Control tokens, by their text, that end a reply whenever they are sampled. A tokenizer need
  // not have all of them.
  virtual const std::vector<std::string>& stop_texts() const = 0;
  virtual ReplyStyle reply_style() const = 0;
  // What a prompt ends with so that the reply begins inside a call: of the tool of that name, or of
  // one whose name is what comes next when it is empty. Empty where replies have no calls (P12).
  virtual Prompt call_opening(std::string_view tool) const = 0;
  virtual CallTags call_tags() const = 0;  // empty where replies have no calls
  // The control text that goes in front of text that is no conversation; empty: as the tokenizer
  // says.
  virtual std::string_view raw_text_bos() const = 0;
};

// A dialect of DeepSeek-V4; `dialect` has to outlive the format.
std::unique_ptr<const ChatFormat> make_v4_format(const Dialect& dialect);

// The texts that a template calls bos_token and eos_token; empty where the tokenizer has none.
struct TemplateTokens {
  std::string bos;
  std::string eos;
};

// The format that a Jinja chat template stands for, recognised by its text. `source` names the
// file in errors. Throws Unsupported with the beginning of a template that we do not know.
std::unique_ptr<const ChatFormat> make_template_format(std::string_view jinja,
                                                       const TemplateTokens& tokens,
                                                       const std::string& source);

// Whether a reply to the prompt begins inside reasoning: the last think tag of ours opens it.
bool opens_reasoning(const Prompt& prompt);

}  // namespace fathom::text
