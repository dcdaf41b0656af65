// fathom chat: a conversation at the terminal.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/model/text/utf8.h"

#include "apps/fathom/chat_commands.h"
#include "apps/fathom/interrupt.h"
#include "apps/fathom/line_editor.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"
#include "apps/fathom/text_options.h"

namespace fathom::app {
namespace {

// Colours, on a terminal only.
struct Style {
  bool is_on = false;
  const char* dim() const { return is_on ? "\x1b[2m" : ""; }
  const char* bold() const { return is_on ? "\x1b[1m" : ""; }
  const char* call() const { return is_on ? "\x1b[36m" : ""; }
  const char* plain() const { return is_on ? "\x1b[0m" : ""; }
};

// Shows a reply as it arrives: reasoning dim, calls of tools by name and arguments.
class ReplyPrinter {
 public:
  explicit ReplyPrinter(const Style& style) : style_(style) {}

  void show(const text::ReplyEvent& event) {
    using Kind = text::ReplyEvent::Kind;
    switch (event.kind) {
      case Kind::Reasoning:
        open(Part::Reasoning);
        break;
      case Kind::Content:
        open(Part::Content);
        break;
      case Kind::CallBegin:
        part_ = Part::None;
        open(Part::Call);
        print_out(event.text + "(");
        return;
      case Kind::CallArguments:
        break;
      case Kind::CallEnd:
        print_out(")");
        return;
    }
    print_out(event.text);
  }
  void finish() { print_out(std::string(style_.plain()) + "\n"); }

 private:
  enum class Part { None, Reasoning, Content, Call };

  void open(Part part) {
    if (part == part_) {
      return;
    }
    std::string text = style_.plain();
    text += is_first_ ? "" : "\n\n";
    text += part == Part::Reasoning ? style_.dim() : part == Part::Call ? style_.call() : "";
    print_out(text);
    part_ = part;
    is_first_ = false;
  }

  Style style_;
  Part part_ = Part::None;
  bool is_first_ = true;
};

std::filesystem::path history_file() {
  // Documented in --help: where the desktop's convention has such files.
  // NOLINTBEGIN(concurrency-mt-unsafe): nothing here changes the environment
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  // NOLINTEND(concurrency-mt-unsafe)
  if (state != nullptr && *state != '\0') {
    return std::filesystem::path(state) / "fathom/chat_history";
  }
  return home == nullptr ? std::filesystem::path()
                         : std::filesystem::path(home) / ".local/state/fathom/chat_history";
}

// Lines from a person at a terminal, or from a pipe.
class Input {
 public:
  explicit Input(InterruptWatch& interrupts) : interrupts_(interrupts) {
    if (isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0) {
      editor_.emplace(history_file());
      interrupts.set_answer(InterruptWatch::Answer::FlagInterrupt);
      interrupts.set_farewell([this] { editor_->restore_terminal(); });
    }
  }

  // A signal that comes later finds no editor any more.
  ~Input() { interrupts_.set_farewell({}); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  bool is_terminal() const { return editor_.has_value(); }

  // Nothing at the end of the input.
  std::optional<std::string> read(const std::string& prompt) {
    if (!editor_) {
      std::string line;
      if (!std::getline(std::cin, line)) {
        return std::nullopt;
      }
      return text::repair_utf8(line);
    }
    while (true) {
      LineEditor::Input input = editor_->read(prompt);
      if (input.outcome == LineEditor::Outcome::EndInput) {
        print_out("\n");
        return std::nullopt;
      }
      if (input.outcome == LineEditor::Outcome::Line) {
        return std::move(input.text);
      }
      print_out("(/quit or Ctrl-D leaves)\n");
    }
  }

 private:
  InterruptWatch& interrupts_;
  std::optional<LineEditor> editor_;
};

class Dialogue {
 public:
  Dialogue(const TextOptions& options, InterruptWatch& interrupts)
      : interrupts_(interrupts),
        session_(open_session(options)),
        state_{.conversation = {},
               .render = render_options(options),
               .reply = reply_options(options, session_),
               .last = {}},
        input_(interrupts),
        style_{.is_on = input_.is_terminal()} {
    if (session_.text_model().format == nullptr) {
      fail(ErrorCode::Unsupported, session_.text_model().no_format);
    }
    set_system_message(state_.conversation, options.system);
  }

  void run() {
    const ModelFacts& facts = session_.model().facts();
    note(fmt::format("{}, {}, numerics {}, {} threads. /help lists commands.", facts.family,
                     facts.backend, facts.numerics, facts.num_threads));
    while (true) {
      const std::optional<std::string> line = input_.read(prompt("> "));
      if (!line) {
        return;
      }
      if (line->find_first_not_of(" \t\n") == std::string::npos) {
        continue;
      }
      try {
        if (!take(*line)) {
          return;
        }
      } catch (const Error& error) {
        // This turn is over; the conversation is as it was before it.
        take_back_unanswered(state_.conversation);
        note(fmt::format("error: {}", error.what()));
      }
    }
  }

 private:
  // A command, or what the user says. False when the chat is to end.
  bool take(const std::string& line) {
    if (line.front() != '/') {
      state_.conversation.messages.push_back(
          {.role = text::Role::User, .content = {{.text = line}}});
      reply();
      return true;
    }
    const CommandOutcome outcome = run_chat_command(line, state_, session_);
    if (outcome.quits) {
      return false;
    }
    note(outcome.message);
    if (outcome.replies) {
      reply();
    }
    return true;
  }

  // What is bold must not count as columns: between two \1.
  std::string prompt(const std::string& text) const {
    return style_.is_on ? fmt::format("\1{}\1{}\1{}\1", style_.bold(), text, style_.plain()) : text;
  }

  void note(const std::string& text) const {
    if (!text.empty()) {
      std::fflush(stdout);
      std::fprintf(stderr, "%s%s%s\n", style_.dim(), text.c_str(), style_.plain());
    }
  }

  // Answers the conversation, and again after the results of tools that the answer calls.
  void reply() {
    while (true) {
      const ChatReply reply = one_reply();
      if (reply.tokens.empty()) {
        take_back_unanswered(state_.conversation);
        note("stopped before the reply began; the message was taken back");
        return;
      }
      add_reply(state_.conversation, reply.reply);
      if (reply.reply.calls.empty() || reply.is_interrupted || !ask_for_results()) {
        return;
      }
    }
  }

  ChatReply one_reply() {
    ReplyPrinter printer(style_);
    Progress progress("prompt", 1, "tokens");
    ++state_.reply.sampling.seed;  // every reply draws its own numbers
    ChatReply reply =
        session_.reply(state_.conversation, state_.render, state_.reply,
                       {.on_prompt = show_prompt(progress),
                        .on_event = [&](const text::ReplyEvent& event) { printer.show(event); },
                        .on_token = {},
                        .is_stopped = [&] { return interrupts_.is_interrupted(); }});
    progress.finish();
    printer.finish();
    interrupts_.clear();
    state_.last = reply.stats;
    const ReplyStats& stats = reply.stats;
    note(fmt::format("[{} tokens, {:.1f} tokens/s; prompt {} tokens, {} of them known{}{}]",
                     stats.reply_tokens, stats.reply_tokens_per_s(), stats.prompt_tokens,
                     stats.cached_tokens, reply.is_interrupted ? "; stopped" : "",
                     reply.reply.finish == text::ReplyFinish::Length && !reply.is_interrupted
                         ? "; cut at the limit of tokens"
                         : ""));
    return reply;
  }

  // The person plays the tools. False at the end of the input.
  bool ask_for_results() {
    const std::vector<text::ToolCall> calls = state_.conversation.messages.back().tool_calls;
    for (const text::ToolCall& call : calls) {
      const std::optional<std::string> result =
          input_.read(prompt("result of " + call.name + "> "));
      if (!result) {
        return false;
      }
      state_.conversation.messages.push_back(
          {.role = text::Role::Tool, .content = {{.text = *result}}, .tool_call_id = call.id});
    }
    return true;
  }

  InterruptWatch& interrupts_;
  TextSession session_;
  ChatState state_;
  Input input_;
  Style style_;
};

}  // namespace

Command add_chat(CLI::App& program) {
  auto options = std::make_shared<TextOptions>();
  CLI::App* command = program.add_subcommand(
      "chat",
      "Talk with a model. Ctrl-C stops a reply, Alt-Enter begins a new line, /help lists "
      "commands.\n"
      "The history of lines is kept in $XDG_STATE_HOME/fathom or ~/.local/state/fathom.");
  add_model_options(*command, options->run);
  add_adapter_option(*command, options->run);
  add_text_options(*command, *options);
  return {command, [options](InterruptWatch& interrupts) {
            if (options->run.json) {
              fail(ErrorCode::InvalidArgument,
                   "--json: a chat has no report; use fathom run --chat");
            }
            Dialogue(*options, interrupts).run();
          }};
}

}  // namespace fathom::app
