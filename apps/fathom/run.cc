// fathom run: one reply to one prompt, as a continuation or as a chat turn.
#include <cstdio>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"

#include "apps/fathom/chat_commands.h"
#include "apps/fathom/input.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"
#include "apps/fathom/text_options.h"

namespace fathom::app {
namespace {

struct RunCommand {
  TextOptions text;
  std::string prompt;  // empty or -: standard input
  bool has_prompt = false;
  bool is_chat = false;
};

std::string read_prompt(const RunCommand& options) {
  if (!options.has_prompt || options.prompt == "-") {
    return read_text_input("");
  }
  return repaired_text(options.prompt, "prompt");
}

text::Conversation conversation_of(const TextOptions& options, const std::string& prompt) {
  text::Conversation conversation;
  set_system_message(conversation, options.system);
  conversation.messages.push_back({.role = text::Role::User, .content = {{.text = prompt}}});
  return conversation;
}

// Log-probabilities of the tokens of a reply, by the model's own distribution.
struct Logprobs {
  std::vector<double> chosen;
  std::vector<std::vector<sampling::TokenLogprob>> best;  // empty unless asked for
};

void print_report(const RunCommand& options,
                  const TextSession& session,
                  const ChatReply& reply,
                  const Logprobs& logprobs,
                  std::uint64_t seed,
                  double seconds) {
  Report report;
  report.add("content", reply.reply.content);
  if (!reply.reply.reasoning.empty()) {
    report.add("reasoning", reply.reply.reasoning);
  }
  report.add("finish", std::string(text::to_string(reply.reply.finish)));
  if (reply.is_constraint_released) {
    report.add("constraint", std::string("released: no token continues what it wants"));
  }
  report.add("tokens", reply.tokens);
  report.add("logprobs", logprobs.chosen);
  if (!logprobs.best.empty()) {
    report.add("top_logprobs", logprobs.best);
  }
  report.add("seed", seed);
  add_model_facts(report, options.text.run, session.model().facts());
  report.add("prompt_tokens", reply.stats.prompt_tokens);
  report.add("reply_tokens", reply.stats.reply_tokens);
  report.add("prompt_tokens_per_s",
             static_cast<double>(reply.stats.prompt_tokens) / reply.stats.prompt_seconds);
  report.add("reply_tokens_per_s", reply.stats.reply_tokens_per_s());
  add_run_facts(report, seconds);
  report.print(true);
}

void run_run(const RunCommand& options) {
  const auto start = platform::Clock::now();
  const std::string prompt = read_prompt(options);
  TextSession session = open_session(options.text);
  ReplyOptions reply_opts = reply_options(options.text, session);
  if (options.text.run.json && !reply_opts.sampling.num_top_logprobs) {
    reply_opts.sampling.num_top_logprobs = 0;  // those of the chosen tokens are in the report
  }

  Progress progress("prompt", 1, "tokens");
  Logprobs logprobs;
  bool is_reasoning_shown = false;
  const bool is_streaming = !options.text.run.json;
  const ReplyHooks hooks = {
      .on_prompt = show_prompt(progress),
      .on_event =
          [&](const text::ReplyEvent& event) {
            if (!is_streaming) {
              return;
            }
            if (event.kind == text::ReplyEvent::Kind::Content) {
              if (is_reasoning_shown) {
                std::fputs("\n\n", stderr);
                is_reasoning_shown = false;
              }
              print_out(event.text);
            } else if (event.kind == text::ReplyEvent::Kind::Reasoning) {
              std::fputs(event.text.c_str(), stderr);
              is_reasoning_shown = true;
            }
          },
      .on_token =
          [&](const sampling::Picked& picked) {
            logprobs.chosen.push_back(picked.logprobs.logprob);
            if (!picked.logprobs.top.empty()) {
              logprobs.best.push_back(picked.logprobs.top);
            }
          },
  };
  const ChatReply reply = options.is_chat
                              ? session.reply(conversation_of(options.text, prompt),
                                              render_options(options.text), reply_opts, hooks)
                              : session.complete(prompt, reply_opts, hooks);
  const double seconds = platform::seconds_since(start);
  if (options.text.run.json) {
    print_report(options, session, reply, logprobs, reply_opts.sampling.seed, seconds);
    return;
  }
  print_out("\n");
  if (reply.is_constraint_released) {
    std::fputs("fathom: the constraint was released: no token continues what it wants\n", stderr);
  }
}

}  // namespace

Command add_run(CLI::App& program) {
  auto options = std::make_shared<RunCommand>();
  CLI::App* command = program.add_subcommand(
      "run",
      "Continue a text, or answer it with --chat. The reply goes to stdout, reasoning and "
      "progress\n"
      "to stderr. Example: fathom run MODEL \"Once upon a time\" --max-tokens 50");
  add_model_options(*command, options->text.run);
  add_adapter_option(*command, options->text.run);
  const CLI::Option* prompt =
      command->add_option("prompt", options->prompt, "The text; - or absent: standard input")
          ->type_name("PROMPT");
  command->add_flag("--chat", options->is_chat,
                    "The text is what a user says, the reply an answer");
  add_text_options(*command, options->text);
  return {command, [options, prompt](InterruptWatch&) {
            options->has_prompt = prompt->count() > 0;
            run_run(*options);
          }};
}

}  // namespace fathom::app
