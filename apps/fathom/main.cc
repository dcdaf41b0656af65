// The fathom program: parses the command line, runs one command, turns errors into exit codes.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

// The one list of commands, in the order of the help.
constexpr Command (*kCommands[])(CLI::App&) = {
    &add_run,    &add_chat,        &add_serve,      &add_inspect,  &add_synth,
    &add_logits, &add_generate,    &add_perplexity, &add_tokenize, &add_detokenize,
    &add_render, &add_parse_reply, &add_bench,      &add_plan,     &add_probe,
    &add_grad,   &add_data,        &add_merge,      &add_tune,     &add_train,
};

constexpr const char* kExample =
    "Example (makes a small random model and continues three tokens):\n"
    "  fathom synth --preset tiny --out /tmp/fathom-tiny --overwrite && fathom generate "
    "/tmp/fathom-tiny --tokens 1,2,3 --max-tokens 8";

int report_error(ErrorCode code, const std::string& message) {
  // Whatever a message quotes, it is one line.
  std::string line = message;
  for (char& letter : line) {
    letter = letter == '\n' || letter == '\r' ? ' ' : letter;
  }
  std::fprintf(stderr, "fathom: %s\n", line.c_str());
  return exit_code(code);
}

int parse_and_run(int argc, char** argv) {
  CLI::App program("Fathom computes DeepSeek-V4-class language models.", "fathom");
  program.set_version_flag("--version", "fathom " FATHOM_VERSION);
  program.footer(kExample);
  program.require_subcommand(1);
  std::vector<Command> commands;
  for (const auto add : kCommands) {
    commands.push_back(add(program));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return program.exit(success);
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> rest = program.remaining();
    const bool has_unknown_command = program.get_subcommands().empty() && !rest.empty();
    return report_error(ErrorCode::InvalidArgument,
                        (has_unknown_command ? "no command " + formats::quote(rest.front())
                                             : std::string(error.what())) +
                            " (fathom --help lists commands, fathom COMMAND --help their options)");
  }
  InterruptWatch interrupts;
  for (const Command& command : commands) {
    if (command.options->parsed()) {
      command.run(interrupts);
    }
  }
  return 0;
}

int main_with_errors(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const Error& error) {
    return report_error(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return report_error(ErrorCode::OutOfMemory, "the system has no memory left");
  } catch (const std::filesystem::filesystem_error& error) {
    return report_error(ErrorCode::Io, error.what());
  } catch (const std::system_error& error) {
    // A thread that cannot start: its stack, or a limit on threads.
    const bool is_scarce = error.code() == std::errc::resource_unavailable_try_again ||
                           error.code() == std::errc::not_enough_memory;
    return report_error(is_scarce ? ErrorCode::OutOfMemory : ErrorCode::Io, error.what());
  } catch (const std::exception& error) {
    return report_error(ErrorCode::Internal, std::string("bug in Fathom: ") + error.what());
  }
}

}  // namespace
}  // namespace fathom::app

int main(int argc, char** argv) {
  return fathom::app::main_with_errors(argc, argv);
}
