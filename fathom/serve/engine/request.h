// What a client asks of a model, free of any wire format.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fathom/model/sampling/options.h"
#include "fathom/model/text/conversation.h"

namespace fathom::engine {

using sampling::TokenId;

struct ChatPrompt {
  text::Conversation conversation;
  text::RenderOptions render;
};

// Text that is no conversation. With a suffix, the reply is what stands between the two.
struct TextPrompt {
  std::string text;     // UTF-8; control tokens that it spells are control tokens
  bool add_bos = true;  // the model's, unless the text begins with it
  std::optional<std::string> suffix = {};
};

struct TokenPrompt {
  std::vector<TokenId> ids;  // taken as they are
};

using Prompt = std::variant<ChatPrompt, TextPrompt, TokenPrompt>;

enum class ToolChoice { Auto, None, Required, Named };

// What the content of a reply has to be; reasoning and tool calls are free of it.
struct ContentRule {
  enum class Kind { Free, JsonObject, JsonSchema, Regex, Grammar };
  Kind kind = Kind::Free;
  std::string text = {};  // the schema, the expression, the grammar
};

struct GenerateRequest {
  Prompt prompt;
  std::string adapter = {};            // a name that the engine knows; empty: the model itself
  sampling::SamplingOptions sampling;  // its seed counts where has_seed says so
  bool has_seed = false;               // without, every request draws its own
  Index num_choices = 1;
  // Of each choice; nothing: as many as the context holds. 0 only scores the prompt.
  std::optional<Index> max_tokens = {};
  std::vector<std::string> stop_strings = {};  // in content, not in reasoning
  std::vector<TokenId> stop_ids = {};          // beside the model's own
  bool ignores_end = false;                    // the model's end tokens do not end the reply
  ContentRule content = {};
  ToolChoice tool_choice = ToolChoice::Auto;
  std::string named_tool = {};  // of ToolChoice::Named
  bool allows_parallel_calls = true;
  // The n best log-probabilities for every token of the prompt but the first.
  std::optional<Index> num_prompt_logprobs = {};
  bool wants_progress = false;  // PromptProgress while the prompt is computed

  // Less is served first; equals take turns.
  int priority = 0;
  // Ends the request with what there is, waiting included.
  std::optional<std::chrono::milliseconds> deadline = {};
  // Only requests of the same scope share cached prefixes.
  std::string cache_scope = {};
};

}  // namespace fathom::engine
