#include "fathom/text_model.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/text/json_value.h"
#include "fathom/model/weights/checkpoint.h"

namespace fathom {
namespace {

using text::ChatFormat;
using text::JsonValue;
using text::TemplateTokens;

constexpr std::string_view kTokenizerFile = "tokenizer.json";
constexpr std::string_view kTokenizerConfig = "tokenizer_config.json";

// DeepSeek-V4 by the names that its files have. Its prompts are ours: a template that somebody
// added to such a file is an approximation.
constexpr std::string_view kV4Architecture = "deepseek4";
constexpr std::string_view kV4ModelType = "deepseek_v4";

struct FoundTemplate {
  std::string jinja;
  TemplateTokens tokens;
  std::string source;
};

std::string token_text(const formats::GgufHeader& header,
                       std::string_view key,
                       const std::string& file) {
  const std::optional<std::int64_t> id = header.find_integer(key, file);
  const auto entry = header.metadata.find("tokenizer.ggml.tokens");
  if (!id || entry == header.metadata.end()) {
    return "";
  }
  const auto* const array = std::get_if<formats::GgufArray>(&entry->second);
  const auto* const tokens =
      array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(array);
  if (tokens == nullptr || *id < 0 || *id >= to_index(tokens->size())) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", key, ": expected the id of a token, found ",
         *id);
  }
  return (*tokens)[to_size(*id)];
}

// Nothing for DeepSeek-V4.
std::optional<FoundTemplate> find_in_gguf(const std::filesystem::path& path) {
  const std::string name = path.string();
  const platform::MappedFile file(path);
  const formats::GgufHeader header = formats::parse_gguf_header(file.bytes(), name);
  if (header.find_string("general.architecture", name) == kV4Architecture) {
    return std::nullopt;
  }
  std::optional<std::string> jinja = header.find_string("tokenizer.chat_template", name);
  if (!jinja) {
    fail(ErrorCode::Unsupported, name,
         ": tokenizer.chat_template: expected a template, found none");
  }
  return FoundTemplate{.jinja = std::move(*jinja),
                       .tokens = {.bos = token_text(header, "tokenizer.ggml.bos_token_id", name),
                                  .eos = token_text(header, "tokenizer.ggml.eos_token_id", name)},
                       .source = name};
}

// A token is written as its text or as an object with its content.
std::string token_text(const JsonValue& config, std::string_view key) {
  const JsonValue* token = config.find(key);
  if (token != nullptr && token->kind == JsonValue::Kind::Object) {
    token = token->find("content");
  }
  return token == nullptr || token->kind != JsonValue::Kind::String ? "" : token->text;
}

bool is_v4_folder(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / text::kBundledEncoder)) {
    return true;
  }
  const std::filesystem::path file = path / "config.json";
  if (!std::filesystem::exists(file)) {
    return false;
  }
  const JsonValue config = text::parse_json(platform::read_file(file), file.string());
  const JsonValue* const type = config.find("model_type");
  return type != nullptr && type->text == kV4ModelType;
}

// Nothing for DeepSeek-V4.
std::optional<FoundTemplate> find_in_folder(const std::filesystem::path& path) {
  if (is_v4_folder(path)) {
    return std::nullopt;
  }
  const std::filesystem::path file = path / kTokenizerConfig;
  if (!std::filesystem::exists(file)) {
    fail(ErrorCode::Unsupported, path.string(), ": no chat format: expected DeepSeek-V4 or ",
         kTokenizerConfig);
  }
  const JsonValue config = text::parse_json(platform::read_file(file), file.string());
  const JsonValue* const jinja = config.find("chat_template");
  if (jinja == nullptr || jinja->kind != JsonValue::Kind::String) {
    fail(ErrorCode::Unsupported, file.string(), ": chat_template: expected a string, found ",
         jinja == nullptr ? "nothing" : "another type");
  }
  return FoundTemplate{
      .jinja = jinja->text,
      .tokens = {.bos = token_text(config, "bos_token"), .eos = token_text(config, "eos_token")},
      .source = file.string()};
}

// Where a checkpoint says how it wants to be talked to: beside a .safetensors file, in the first
// part of a split GGUF.
std::filesystem::path home_of_format(const std::filesystem::path& checkpoint) {
  if (checkpoint.extension() == ".safetensors") {
    return checkpoint.has_parent_path() ? checkpoint.parent_path() : ".";
  }
  return checkpoint.extension() == ".gguf" ? weights::first_part(checkpoint) : checkpoint;
}

}  // namespace

std::shared_ptr<const text::Tokenizer> open_tokenizer(const std::string& name) {
  std::filesystem::path path = name;
  if (path.extension() == ".gguf") {
    path = weights::first_part(path);
    const platform::MappedFile file(path);
    return text::Tokenizer::from_gguf(formats::parse_gguf_header(file.bytes(), path.string()),
                                      path.string());
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    path /= kTokenizerFile;
  } else if (path.extension() == ".safetensors") {
    path.replace_filename(kTokenizerFile);
  }
  if (path != std::filesystem::path(name) && !std::filesystem::exists(path, ignored)) {
    fail(ErrorCode::InvalidArgument, name, ": no tokenizer, expected ", path.string());
  }
  return text::Tokenizer::parse_json(platform::read_file(path), path.string());
}

std::unique_ptr<const ChatFormat> open_chat_format(const std::string& model,
                                                   const std::string& dialect) {
  if (!dialect.empty()) {
    return text::make_v4_format(text::dialect_from_name(dialect));
  }
  if (model.empty()) {
    return text::make_v4_format(text::dialects().front());
  }
  if (!std::filesystem::exists(model)) {
    fail(ErrorCode::Io, model, ": no such file or folder");
  }
  const std::filesystem::path path = home_of_format(model);
  const std::optional<FoundTemplate> found =
      std::filesystem::is_directory(path) ? find_in_folder(path) : find_in_gguf(path);
  if (found) {
    return text::make_template_format(found->jinja, found->tokens, found->source);
  }
  return text::make_v4_format(text::detect_dialect(path));
}

TextModel open_text_model(const std::string& model, const std::string& dialect) {
  const std::shared_ptr<const text::Tokenizer> tokenizer = open_tokenizer(model);
  std::shared_ptr<const ChatFormat> format;
  std::string no_format;
  try {
    format = open_chat_format(model, dialect);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::Unsupported) {
      throw;
    }
    no_format = error.what();
  }
  TextModel result = text::make_text_model(tokenizer, std::move(format));
  result.no_format = std::move(no_format);
  return result;
}

}  // namespace fathom
