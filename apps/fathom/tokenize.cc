// fathom tokenize and fathom detokenize: text to token ids and back.
#include <algorithm>
#include <charconv>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/utf8.h"
#include "fathom/text_model.h"

#include "apps/fathom/input.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

struct TokenizeCommand {
  std::string model;
  std::string file;  // empty: standard input
  bool is_plain = false;
  bool shows_text = false;
  bool reads_lines = false;
};

struct DetokenizeCommand {
  std::string model;
  std::string file;
  std::string tokens;
  bool is_raw = false;
};

// On one line: characters as they are, bytes that are no character as \xNN.
std::string quote_piece(std::string_view bytes) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string result = "\"";
  while (!bytes.empty()) {
    const text::Utf8Step step = text::utf8_step(bytes);
    const auto byte = static_cast<unsigned char>(bytes.front());
    if (step.kind != text::Utf8Step::Kind::Character || byte < 0x20 || byte == 0x7f) {
      for (const char each : bytes.substr(0, step.num_bytes)) {
        const auto value = static_cast<unsigned char>(each);
        result += each == '\n'   ? std::string("\\n")
                  : each == '\t' ? std::string("\\t")
                  : each == '\r'
                      ? std::string("\\r")
                      : std::string("\\x") + kHexDigits[value >> 4U] + kHexDigits[value & 15U];
      }
    } else {
      result += byte == '"' || byte == '\\' ? "\\" : "";
      result += bytes.substr(0, step.num_bytes);
    }
    bytes.remove_prefix(step.num_bytes);
  }
  return result + '"';
}

// The ids of one text as the program prints them.
std::string tokenized(const text::Tokenizer& tokenizer,
                      const TokenizeCommand& options,
                      std::string_view input) {
  const std::vector<text::TokenId> ids = tokenizer.encode(
      input, options.is_plain ? text::ControlTokens::Plain : text::ControlTokens::Recognised);
  std::string line;
  for (const text::TokenId id : ids) {
    if (options.shows_text) {
      line += std::to_string(id) + "\t" + quote_piece(tokenizer.bytes_of(id)) + "\n";
    } else {
      line += (line.empty() ? "" : ",") + std::to_string(id);
    }
  }
  return options.shows_text ? line : "[" + line + "]\n";
}

// The text of a line that is a JSON string.
std::string text_of_line(std::string_view line, Index number, const std::string& source) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_string()) {
    fail(ErrorCode::InvalidArgument, source, ": line ", number, ": found ", formats::quote(line),
         ", expected a JSON string");
  }
  return json.get<std::string>();
}

void run_tokenize(const TokenizeCommand& options) {
  const auto tokenizer = open_tokenizer(options.model);
  if (!options.reads_lines) {
    print_out(tokenized(*tokenizer, options, read_text_input(options.file)));
    return;
  }
  const std::string input = read_input(options.file);
  const std::string source = options.file.empty() ? "standard input" : options.file;
  std::string_view rest = input;
  for (Index number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    print_out(tokenized(*tokenizer, options, text_of_line(line, number, source)));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
}

// A JSON array of integers, or integers with commas or white space between them.
std::vector<std::int64_t> parse_ids(std::string_view list, const std::string& source) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const auto trim = [&] {
    list.remove_prefix(std::min(list.find_first_not_of(kSpaces), list.size()));
    list.remove_suffix(list.size() - std::min(list.find_last_not_of(kSpaces) + 1, list.size()));
  };
  trim();
  if (list.starts_with('[') && list.ends_with(']') && list.size() > 1) {
    list = list.substr(1, list.size() - 2);
    trim();
  }
  std::vector<std::int64_t> ids;
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find_first_of(" \t\r\n,"));
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), id);
    if (error != std::errc() || end != item.data() + item.size()) {
      fail(ErrorCode::InvalidArgument, source, ": position ", ids.size(), ": found ",
           formats::quote(item), ", expected a token id");
    }
    ids.push_back(id);
    list.remove_prefix(item.size());
    list.remove_prefix(std::min(list.find_first_not_of(kSpaces), list.size()));
    if (list.starts_with(',')) {
      list.remove_prefix(1);
      list.remove_prefix(std::min(list.find_first_not_of(kSpaces), list.size()));
      if (list.empty()) {
        fail(ErrorCode::InvalidArgument, source, ": position ", ids.size(),
             ": found the end, expected a token id after the comma");
      }
    }
  }
  return ids;
}

void run_detokenize(const DetokenizeCommand& options) {
  const auto tokenizer = open_tokenizer(options.model);
  const bool is_list = !options.tokens.empty();
  const std::string source = is_list                ? "--tokens"
                             : options.file.empty() ? "standard input"
                                                    : options.file;
  const std::vector<std::int64_t> ids =
      parse_ids(is_list ? options.tokens : read_input(options.file), source);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= tokenizer->num_ids()) {
      fail(ErrorCode::InvalidArgument, source, ": position ", i, ": token id ", ids[i],
           ", expected 0 to ", tokenizer->num_ids() - 1);
    }
  }
  text::TextStream stream(*tokenizer);
  std::string text;
  for (const std::int64_t id : ids) {
    const auto token = static_cast<text::TokenId>(id);
    text += options.is_raw ? std::string(tokenizer->bytes_of(token)) : stream.push(token);
  }
  print_out(text + stream.finish());
}

}  // namespace

Command add_tokenize(CLI::App& program) {
  auto options = std::make_shared<TokenizeCommand>();
  CLI::App* command = program.add_subcommand("tokenize", "Token ids of a text");
  command->add_option("model", options->model, "A folder with tokenizer.json, the file, or a .gguf")
      ->required()
      ->type_name("MODEL");
  command->add_option("file", options->file, "Text in UTF-8 (default: standard input)")
      ->type_name("FILE");
  command->add_flag("--plain", options->is_plain, "Text never becomes a control token");
  command->add_flag("--text", options->shows_text, "A line per token: its id and its text");
  command->add_flag("--jsonl", options->reads_lines,
                    "Many texts: each line of FILE is a JSON string, and gives a line");
  return {command, [options](InterruptWatch&) { run_tokenize(*options); }};
}

Command add_detokenize(CLI::App& program) {
  auto options = std::make_shared<DetokenizeCommand>();
  CLI::App* command = program.add_subcommand("detokenize", "The text of token ids");
  command->add_option("model", options->model, "A folder with tokenizer.json, the file, or a .gguf")
      ->required()
      ->type_name("MODEL");
  CLI::Option* file =
      command
          ->add_option("file", options->file,
                       "A JSON array of ids, or ids with commas or blanks between (default: "
                       "standard input)")
          ->type_name("FILE");
  command->add_option("--tokens", options->tokens, "The ids themselves")
      ->type_name("1,2,3")
      ->excludes(file);
  command->add_flag("--raw", options->is_raw,
                    "Bytes as the tokens have them (default: U+FFFD for what is not UTF-8)");
  return {command, [options](InterruptWatch&) { run_detokenize(*options); }};
}

}  // namespace fathom::app
