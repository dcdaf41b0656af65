#include "fathom/model/text/chat_template.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

constexpr TemplateStyle kChatMl{
    .name = "chatml",
    .turns = {{{Role::System, "<|im_start|>system\n", "<|im_end|>\n"},
               {Role::User, "<|im_start|>user\n", "<|im_end|>\n"},
               {Role::Assistant, "<|im_start|>assistant\n", "<|im_end|>\n"},
               {Role::Tool, "<|im_start|>tool\n", "<|im_end|>\n"}}},
    .generation = "<|im_start|>assistant\n",
    .stop_texts = {"<|im_end|>"},
};

// Its tool results are written in a way of their own, which is not supported.
constexpr TemplateStyle kQwen25{
    .name = "qwen2.5",
    .turns = {{{Role::System, "<|im_start|>system\n", "<|im_end|>\n"},
               {Role::User, "<|im_start|>user\n", "<|im_end|>\n"},
               {Role::Assistant, "<|im_start|>assistant\n", "<|im_end|>\n"}}},
    .generation = "<|im_start|>assistant\n",
    .stop_texts = {"<|im_end|>"},
};

// Llama 3 and what was tuned from it.
constexpr TemplateStyle kLlama3{
    .name = "llama-3",
    .start = "\1",
    .turns = {{{Role::System, "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
               {Role::User, "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
               {Role::Assistant, "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
               {Role::Tool, "<|start_header_id|>tool<|end_header_id|>\n\n", "<|eot_id|>"}}},
    .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    .trims = true,
    .stop_texts = {"<|eot_id|>", "<|end_of_text|>"},
};

// Llama 3.1 to 3.3. The date is the one that the template falls back to: a prompt that changes
// every day would never be found in a cache.
constexpr TemplateStyle kLlama31{
    .name = "llama-3.1",
    .start = "\1",
    .turns = {{{Role::System, "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
               {Role::User, "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
               {Role::Assistant, "<|start_header_id|>assistant<|end_header_id|>\n\n",
                "<|eot_id|>"}}},
    .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    .preamble = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
    .trims = true,
    .stop_texts = {"<|eot_id|>", "<|end_of_text|>"},
};

constexpr TurnMarks kLlama2User{Role::User, "\1[INST] ", " [/INST]"};
constexpr TurnMarks kLlama2Assistant{Role::Assistant, " ", " \2"};

constexpr TemplateStyle make_llama2(const TurnMarks& later_system) {
  return {.name = "llama-2",
          .turns = {{kLlama2User, kLlama2Assistant, later_system}},
          .system_use = SystemUse::InFirstUser,
          .system_head = "<<SYS>>\n",
          .system_tail = "\n<</SYS>>\n\n",
          .trims = true,
          .alternates = true};
}

constexpr TemplateStyle kLlama2 = make_llama2({});
// A later system message may take the assistant's turn.
constexpr TemplateStyle kLlama2LaterSystem =
    make_llama2({Role::System, "<<SYS>>\n", "\n<</SYS>>\n\n"});

// Mistral 7B Instruct v0.1 and v0.2.
constexpr TemplateStyle kMistral{
    .name = "mistral",
    .start = "\1",
    .turns = {{{Role::User, "[INST] ", " [/INST]"}, {Role::Assistant, "", "\2"}}},
    .alternates = true,
};

// The same models with the later template, which takes a system message.
constexpr TemplateStyle kMistralSystem{
    .name = "mistral-system",
    .start = "\1",
    .turns = {{{Role::User, " [INST] ", " [/INST]"}, {Role::Assistant, " ", "\2"}}},
    .system_use = SystemUse::InFirstUser,
    .system_tail = "\n\n",
    .alternates = true,
};

constexpr TurnMarks kGemmaUser{Role::User, "<start_of_turn>user\n", "<end_of_turn>\n"};
constexpr TurnMarks kGemmaModel{Role::Assistant, "<start_of_turn>model\n", "<end_of_turn>\n"};

// The template refuses a system message at the front only.
constexpr TurnMarks kGemmaSystem{Role::System, "<start_of_turn>system\n", "<end_of_turn>\n"};

constexpr TemplateStyle make_gemma(std::string_view start) {
  return {.name = "gemma",
          .start = start,
          .turns = {{kGemmaUser, kGemmaModel, kGemmaSystem}},
          .generation = "<start_of_turn>model\n",
          .system_use = SystemUse::RefusedInFront,
          .trims = true,
          .alternates = true,
          .stop_texts = {"<end_of_turn>"}};
}

constexpr TemplateStyle kGemma = make_gemma("\1");
constexpr TemplateStyle kGemmaWithoutBos = make_gemma("");  // its first template

constexpr TurnMarks kPhiUser{Role::User, "<|user|>\n", "<|end|>\n"};
constexpr TurnMarks kPhiAssistant{Role::Assistant, "<|assistant|>\n", "<|end|>\n"};
constexpr TurnMarks kPhiSystem{Role::System, "<|system|>\n", "<|end|>\n"};

constexpr TemplateStyle kPhi3{
    .name = "phi-3",
    .turns = {{kPhiUser, kPhiAssistant, kPhiSystem}},
    .generation = "<|assistant|>\n",
    .omits_empty_system = true,
    .stop_texts = {"<|end|>"},
};

constexpr TemplateStyle kPhi4{
    .name = "phi-4",
    .turns = {{{Role::System, "<|im_start|>system<|im_sep|>", "<|im_end|>"},
               {Role::User, "<|im_start|>user<|im_sep|>", "<|im_end|>"},
               {Role::Assistant, "<|im_start|>assistant<|im_sep|>", "<|im_end|>"}}},
    .generation = "<|im_start|>assistant<|im_sep|>",
    .stop_texts = {"<|im_end|>"},
};

constexpr TemplateStyle kZephyr{
    .name = "zephyr",
    .turns = {{{Role::System, "<|system|>\n", "\2\n"},
               {Role::User, "<|user|>\n", "\2\n"},
               {Role::Assistant, "<|assistant|>\n", "\2\n"}}},
    .generation = "<|assistant|>\n",
};

constexpr std::string_view kAlternation =
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation"
    " roles must alternate user/assistant/user/assistant/...') }}{% endif %}";

// A known template is its text, or the pieces of it in order with anything between; one gap may
// hold the system message for conversations without one. The first piece begins the template and
// the last one ends it, but for white space. A line break stands for `\n` too.
struct KnownTemplate {
  const TemplateStyle* style;
  std::vector<std::string> pieces;
  int default_system_gap = -1;  // after which piece
};

std::vector<KnownTemplate> chatml_templates() {
  const std::string loop = "{% for message in messages %}";
  const std::string turn =
      "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
      "{% endfor %}";
  const std::string open =
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  const std::string without_system =
      "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n";
  return {
      {&kChatMl, {loop + turn + open}},
      // SmolLM2, Qwen2.
      {&kChatMl, {loop + without_system, "<|im_end|>\n' }}{% endif %}" + turn + open}, 0},
      // What lies between is about tools.
      {&kQwen25,
       {"{%- if tools %}\n    {{- '<|im_start|>system\n' }}\n    {%- if messages[0]['role'] == "
        "'system' %}\n        {{- messages[0]['content'] }}\n    {%- else %}\n        {{- '",
        "' }}\n    {%- endif %}\n",
        "{%- for message in messages %}\n    {%- if (message.role == \"user\") or (message.role == "
        "\"system\" and not loop.first) or (message.role == \"assistant\" and not "
        "message.tool_calls) %}\n        {{- '<|im_start|>' + message.role + '\n' + "
        "message.content + '<|im_end|>' + '\n' }}\n",
        "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n{%- endif %}"},
       0},
  };
}

std::vector<KnownTemplate> llama_templates() {
  const std::string llama3 =
      "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
      "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "
      "trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
      "{% endif %}{{ content }}{% endfor %}";
  const std::string open = "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}";
  const std::string llama2_system =
      "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set "
      "system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
      "{% set system_message = false %}{% endif %}{% for message in loop_messages %}";
  const std::string llama2_content =
      "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + "
      "system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = "
      "message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' "
      "+ content.strip() + ' [/INST]' }}";
  const std::string llama2_nested =
      "{% elif message['role'] == 'system' %}{{ '<<SYS>>\n' + content.strip() + "
      "'\n<</SYS>>\n\n' }}";
  const std::string llama2_assistant =
      "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
      "{% endif %}{% endfor %}";
  const std::string llama31_turn =
      "{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or message.role "
      "== "
      "'tool' or 'tool_calls' in message) %}\n        {{- '<|start_header_id|>' + message['role'] "
      "+ "
      "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}\n";
  const std::string llama31_dates =
      "{{- \"Cutting Knowledge Date: December 2023\n\" }}\n{{- \"Today Date: \" + date_string + "
      "\"\n\n\" }}\n{%- if tools is not none and not tools_in_user_message %}\n";
  const std::string llama31_open =
      "{%- if add_generation_prompt %}\n    {{- "
      "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}\n{%- endif %}";
  const std::string alternation(kAlternation);
  return {
      {&kLlama3, {llama3 + open}},
      {&kLlama3, {llama3 + "{% if add_generation_prompt %}" + open + "{% endif %}"}},
      {&kLlama31,
       {"{{- bos_token }}\n{%- if custom_tools is defined %}\n",
        "date_string = \"26 Jul 2024\" %}\n",
        "{{- \"<|start_header_id|>system<|end_header_id|>\n\n\" }}\n", llama31_dates,
        "{{- system_message }}\n{{- \"<|eot_id|>\" }}\n", llama31_turn, llama31_open}},
      {&kLlama2LaterSystem,
       {llama2_system + alternation + llama2_content + llama2_nested + llama2_assistant}},
      {&kLlama2, {llama2_system + alternation + llama2_content + llama2_assistant}},
  };
}

std::vector<KnownTemplate> mistral_and_gemma_templates() {
  const std::string alternation(kAlternation);
  const std::string gemma =
      "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
      "{% endif %}{% for message in messages %}" +
      alternation +
      "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = "
      "message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim "
      "+ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}"
      "{% endif %}";
  return {
      {&kMistral,
       {"{{ bos_token }}{% for message in messages %}" + alternation +
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}"
        "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
        "{% endfor %}"}},
      {&kMistralSystem,
       {"{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = "
        "messages[0]['content'] %}\n    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    "
        "{%- set loop_messages = messages %}\n{%- endif %}\n\n{{- bos_token }}\n{%- for message in "
        "loop_messages %}\n    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n",
        "    {%- if message['role'] == 'user' %}\n        {%- if loop.first and system_message is "
        "defined %}\n            {{- ' [INST] ' + system_message + '\n\n' + message['content'] + "
        "' [/INST]' }}\n        {%- else %}\n            {{- ' [INST] ' + message['content'] + "
        "' [/INST]' }}\n        {%- endif %}\n    {%- elif message['role'] == 'assistant' %}\n"
        "        {{- ' ' + message['content'] + eos_token}}\n",
        "{%- endfor %}"}},
      {&kGemmaWithoutBos, {gemma}},
      {&kGemma, {"{{ bos_token }}" + gemma}},
  };
}

std::vector<KnownTemplate> phi_and_zephyr_templates() {
  const std::string loop = "{% for message in messages %}";
  return {
      {&kPhi3,
       {loop +
        "{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + "
        "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + "
        "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
        "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
        "{% endif %}"}},
      {&kPhi4,
       {loop +
        "{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + "
        "message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}"
        "{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif "
        "(message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>' + "
        "message['content'] + '<|im_end|>'}}{% endif %}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"}},
      {&kZephyr,
       {loop +
        "\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token "
        "}}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + "
        "eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + "
        "message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt "
        "%}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"}},
  };
}

const std::vector<KnownTemplate>& known_templates() {
  static const std::vector<KnownTemplate> kKnown = [] {
    std::vector<KnownTemplate> all = chatml_templates();
    for (const auto make :
         {&llama_templates, &mistral_and_gemma_templates, &phi_and_zephyr_templates}) {
      const std::vector<KnownTemplate> more = make();
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }();
  return kKnown;
}

// Files differ in how their literals spell a line break, and in white space at the end.
std::string normalise(std::string_view jinja) {
  std::string text;
  for (std::size_t i = 0; i < jinja.size(); ++i) {
    if (jinja.substr(i, 2) == "\\n") {
      text += '\n';
      ++i;
    } else {
      text += jinja[i];
    }
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

// The text in each gap between pieces, or nothing when the template is another one.
std::optional<std::vector<std::string>> match(std::string_view text,
                                              const std::vector<std::string>& pieces) {
  if (!text.starts_with(pieces.front()) || !text.ends_with(pieces.back())) {
    return std::nullopt;
  }
  if (pieces.size() == 1) {
    return text.size() == pieces.front().size() ? std::optional(std::vector<std::string>())
                                                : std::nullopt;
  }
  std::vector<std::string> gaps;
  std::size_t position = pieces.front().size();
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    const bool is_last = i + 1 == pieces.size();
    const std::size_t at =
        is_last ? text.size() - pieces[i].size() : text.find(pieces[i], position);
    if (at == std::string_view::npos || at < position) {
      return std::nullopt;
    }
    gaps.emplace_back(text.substr(position, at - position));
    position = at + pieces[i].size();
  }
  return gaps;
}

// White space of Python's str.strip().
bool is_space(std::uint32_t code_point) {
  return (code_point >= 0x09 && code_point <= 0x0d) || (code_point >= 0x1c && code_point <= 0x20) ||
         code_point == 0x85 || code_point == 0xa0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x2028 ||
         code_point == 0x2029 || code_point == 0x202f || code_point == 0x205f ||
         code_point == 0x3000;
}

// How many bytes of white space a text begins with, one character at most.
std::size_t leading_space(std::string_view text) {
  const Utf8Step step = utf8_step(text);
  return step.kind == Utf8Step::Kind::Character && is_space(utf8_code(&text.front()))
             ? step.num_bytes
             : 0;
}

std::string_view trim_end(std::string_view text) {
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<std::uint8_t>(text[start]) & 0xc0) == 0x80) {
      --start;
    }
    if (leading_space(text.substr(start)) != text.size() - start) {
      break;
    }
    text = text.substr(0, start);
  }
  return text;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && leading_space(text) > 0) {
    text.remove_prefix(leading_space(text));
  }
  return trim_end(text);
}

class Renderer {
 public:
  Renderer(const RecognisedTemplate& recognised,
           const TemplateTokens& tokens,
           const RenderOptions& options)
      : recognised_(recognised), style_(*recognised.style), tokens_(tokens), options_(options) {}

  Prompt render(std::vector<Message> messages) {
    markup(style_.start);
    take_system(messages);
    const Index num_messages = to_index(messages.size());
    for (Index i = 0; i < num_messages; ++i) {
      const Message& message = messages[to_size(i)];
      check(message, i);
      const TurnMarks* const marks = marks_of(message.role);
      if (marks == nullptr) {
        refuse(i, "expected another role, found \"", to_string(message.role), "\"");
      }
      if (style_.omits_empty_system && message.role == Role::System && text_of(message).empty()) {
        continue;
      }
      markup(marks->head);
      write_content(message, i == 0);
      if (i + 1 == num_messages && message.role == Role::Assistant &&
          message.ending != Ending::Closed) {
        return std::move(prompt_);  // the beginning of the reply
      }
      markup(marks->tail);
    }
    markup(style_.generation);
    return std::move(prompt_);
  }

 private:
  void markup(std::string_view text) {
    for (const char letter : text) {
      if (letter == '\1') {
        append(prompt_, options_.add_bos ? tokens_.bos : std::string(), true);
      } else if (letter == '\2') {
        append(prompt_, tokens_.eos, true);
      } else {
        append(prompt_, std::string_view(&letter, 1), true);
      }
    }
  }

  template <typename... Parts>
  [[noreturn]] void refuse(Index message_idx, const Parts&... parts) const {
    fail(ErrorCode::InvalidArgument, "messages[", message_idx + num_taken_, "]: chat template ",
         style_.name, ": ", parts...);
  }

  // The system message where it is no turn of its own, and the one that stands in for none.
  void take_system(std::vector<Message>& messages) {
    const bool has_system = !messages.empty() && messages.front().role == Role::System;
    if (has_system && style_.system_use == SystemUse::InFirstUser) {
      system_ = text_of(messages.front());
    } else if (!style_.preamble.empty()) {
      const std::string text = has_system ? text_of(messages.front()) : "";
      markup(marks_of(Role::System)->head);
      markup(style_.preamble);
      append(prompt_, trim(text), false);
      markup(marks_of(Role::System)->tail);
    } else {
      if (!has_system && !recognised_.default_system.empty() && !messages.empty()) {
        markup(marks_of(Role::System)->head);
        append(prompt_, recognised_.default_system, true);
        markup(marks_of(Role::System)->tail);
      }
      return;
    }
    if (has_system) {
      messages.erase(messages.begin());
      num_taken_ = 1;
    }
  }

  void check(const Message& message, Index i) const {
    if (!message.tool_calls.empty() || !message.tools.empty()) {
      fail(ErrorCode::Unsupported, "messages[", i + num_taken_, "]: chat template ", style_.name,
           ": tools are not supported");
    }
    if (i == 0 && message.role == Role::System && style_.system_use == SystemUse::RefusedInFront) {
      refuse(i, "a system message is not supported");
    }
    if (style_.alternates && (message.role == Role::User) != (i % 2 == 0)) {
      refuse(i, "the roles user and assistant have to alternate");
    }
  }

  const TurnMarks* marks_of(Role role) const {
    for (const TurnMarks& marks : style_.turns) {
      if (marks.role == role && !(marks.head.empty() && marks.tail.empty())) {
        return &marks;
      }
    }
    return nullptr;
  }

  void write_content(const Message& message, bool is_first) {
    const std::string text = text_of(message);
    if (!is_first || !system_) {
      append(prompt_, style_.trims ? trim(text) : text, false);
      return;
    }
    // Trimmed as one text, which our own begins.
    const std::string_view content = style_.trims ? trim_end(text) : text;
    markup(style_.system_head);
    append(prompt_, *system_, false);
    markup(content.empty() && style_.trims ? trim_end(style_.system_tail) : style_.system_tail);
    append(prompt_, content, false);
  }

  const RecognisedTemplate& recognised_;
  const TemplateStyle& style_;
  const TemplateTokens& tokens_;
  const RenderOptions& options_;
  std::optional<std::string> system_;
  Index num_taken_ = 0;  // messages that are no turn
  Prompt prompt_;
};

}  // namespace

std::optional<RecognisedTemplate> recognise_template(std::string_view jinja) {
  const std::string text = normalise(jinja);
  for (const KnownTemplate& known : known_templates()) {
    const std::optional<std::vector<std::string>> gaps = match(text, known.pieces);
    if (!gaps) {
      continue;
    }
    RecognisedTemplate recognised{.style = known.style, .default_system = {}};
    if (known.default_system_gap >= 0) {
      recognised.default_system = (*gaps)[static_cast<std::size_t>(known.default_system_gap)];
      // A gap that ends the literal holds more than a system message.
      if (recognised.default_system.find('\'') != std::string::npos) {
        continue;
      }
    }
    return recognised;
  }
  return std::nullopt;
}

std::string template_names() {
  std::string names;
  std::string_view last;
  for (const KnownTemplate& known : known_templates()) {
    if (known.style->name != last) {
      last = known.style->name;
      names += names.empty() ? "" : ", ";
      names += last;
    }
  }
  return names;
}

Prompt render_template(const RecognisedTemplate& recognised,
                       const TemplateTokens& tokens,
                       const Conversation& conversation,
                       const RenderOptions& options) {
  if (!conversation.tools.empty()) {
    fail(ErrorCode::Unsupported, "tools: chat template ", recognised.style->name,
         ": tools are not supported");
  }
  if (!conversation.context.empty()) {
    fail(ErrorCode::Unsupported, "context: chat template ", recognised.style->name,
         ": a conversation that goes on is not supported");
  }
  std::vector<Message> messages = conversation.messages;
  if (conversation.system_messages == SystemMessages::Folded) {
    fold_system_messages(messages);
  }
  return Renderer(recognised, tokens, options).render(std::move(messages));
}

}  // namespace fathom::text
