// The chat templates that model files of other families carry, as data.
//
// A template is a Jinja program; there is no engine for it here (docs/decisions/0004). We know the
// common ones by their text and write what they would write.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/prompt.h"

namespace fathom::text {

struct TemplateTokens;

// What stands around a message. In a head or tail, \1 is bos_token and \2 is eos_token.
struct TurnMarks {
  Role role;
  std::string_view head;
  std::string_view tail;
};

enum class SystemUse {
  OwnTurn,
  InFirstUser,  // between system_head and system_tail, inside the first user's turn
  RefusedInFront
};

struct TemplateStyle {
  std::string_view name;
  std::string_view start = {};       // before everything
  std::array<TurnMarks, 4> turns;    // a role that is absent is refused
  std::string_view generation = {};  // opens the reply
  SystemUse system_use = SystemUse::OwnTurn;
  std::string_view system_head = {};
  std::string_view system_tail = {};
  std::string_view preamble = {};  // begins the first system turn, which is never left out then
  bool trims = false;              // content without its outer white space
  bool alternates = false;         // user and assistant have to take turns
  bool omits_empty_system = false;
  std::array<std::string_view, 2> stop_texts = {};
};

struct RecognisedTemplate {
  const TemplateStyle* style;
  std::string default_system;  // what a conversation without a system message begins with, or empty
};

// Nothing for a template that we do not know.
std::optional<RecognisedTemplate> recognise_template(std::string_view jinja);
// The names of those we know, for messages.
std::string template_names();

// What the template would write. Throws InvalidArgument where it would raise an error, Unsupported
// for tools, which none of these has.
Prompt render_template(const RecognisedTemplate& recognised,
                       const TemplateTokens& tokens,
                       const Conversation& conversation,
                       const RenderOptions& options);

}  // namespace fathom::text
