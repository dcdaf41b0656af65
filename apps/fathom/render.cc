// fathom render: the prompt that a conversation becomes, byte for byte.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/model/text/conversation_json.h"

#include "apps/fathom/chat_format_source.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

struct RenderCommand {
  std::vector<std::string> paths;  // [MODEL] [FILE]
  std::string dialect;
  std::string thinking;
  std::string effort;

  std::string model() const { return names_model() ? paths.front() : ""; }
  std::string file() const { return paths.size() > (names_model() ? 1U : 0U) ? paths.back() : "-"; }

 private:
  // One path is the conversation, unless it can only be a model: then stdin is the conversation.
  bool names_model() const {
    return paths.size() == 2 ||
           (paths.size() == 1 &&
            (std::filesystem::is_directory(paths.front()) || paths.front().ends_with(".gguf")));
  }
};

std::string read_input(const std::string& path) {
  if (path == "-") {
    return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  }
  const platform::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void run_render(const RenderCommand& command) {
  const std::unique_ptr<const text::ChatFormat> format =
      open_chat_format(command.model(), command.dialect);
  const std::string source = command.file() == "-" ? "stdin" : command.file();
  Index num_replaced = 0;
  const std::string json = formats::replace_bad_utf8(read_input(command.file()), num_replaced);
  if (num_replaced > 0) {
    std::fprintf(stderr, "fathom: %s: %lld sequences are not UTF-8 and were read as U+FFFD\n",
                 source.c_str(), static_cast<long long>(num_replaced));
  }
  text::ConversationFile file = text::read_conversation(json, source);
  if (!command.thinking.empty()) {
    file.options.thinking = command.thinking == "on";
  }
  if (!command.effort.empty()) {
    file.options.effort = command.effort;
  }
  print_out(text::text_of(format->render(file.conversation, file.options)));
}

}  // namespace

Command add_render(CLI::App& program) {
  auto options = std::make_shared<RenderCommand>();
  CLI::App* command = program.add_subcommand(
      "render",
      "Print the prompt of a conversation: [MODEL] FILE.json, the file - or absent for stdin.\n"
      "FILE is a list of messages, an object with messages, tools, thinking_mode and kwargs, or a\n"
      "chat-completions request. Without MODEL, the prompt of DeepSeek-V4.");
  command->add_option("PATHS", options->paths, "[MODEL] [FILE.json]")
      ->expected(0, 2)
      ->type_name("");
  command
      ->add_option("--dialect", options->dialect,
                   "DeepSeek-V4's prompts: preview or 0731 (default: as the model's folder tells)")
      ->type_name("NAME");
  command->add_option("--thinking", options->thinking, "on or off (default: as FILE says, else on)")
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("WHETHER");
  command->add_option("--effort", options->effort, "Reasoning effort: low, high, max ...")
      ->type_name("NAME");
  return {command, [options](InterruptWatch&) { run_render(*options); }};
}

}  // namespace fathom::app
