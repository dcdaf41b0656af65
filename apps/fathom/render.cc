// fathom render: the prompt that a conversation becomes, byte for byte.
#include <filesystem>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/model/text/conversation_json.h"
#include "fathom/text_model.h"

#include "apps/fathom/input.h"
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

void run_render(const RenderCommand& command) {
  const std::unique_ptr<const text::ChatFormat> format =
      open_chat_format(command.model(), command.dialect);
  const std::string source = command.file() == "-" ? "standard input" : command.file();
  const std::string json = read_text_input(command.file());
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
