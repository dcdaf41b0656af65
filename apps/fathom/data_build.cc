// fathom data build: texts and conversations to shards of tokens.
#include "apps/fathom/data_build.h"

#include <filesystem>
#include <memory>
#include <optional>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/model/text/chat_encoder.h"
#include "fathom/text_model.h"
#include "fathom/train/data/build.h"

#include "apps/fathom/input.h"
#include "apps/fathom/interrupt.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

struct BuildCommand {
  std::string out;
  std::vector<std::string> inputs;
  std::string tokenizer;
  std::string split = "none";
  std::string invalid_utf8 = "repair";
  std::string quality = "none";
  std::optional<Index> min_characters;
  std::optional<Index> max_characters;
  std::optional<double> min_letters;
  std::optional<double> max_symbols;
  std::optional<double> max_repeated_lines;
  std::optional<double> max_word_characters;
  bool keeps_duplicates = false;
  std::vector<std::string> evaluation_files;
  data::BuildOptions build;
  bool overwrite = false;
  int num_threads = 0;
  bool json = false;
};

template <typename Value>
void set(Value& value, const std::optional<Value>& wish) {
  value = wish.value_or(value);
}

data::BuildOptions build_options(const BuildCommand& command) {
  data::BuildOptions options = command.build;
  options.out = command.out;
  options.inputs = data::list_inputs({command.inputs.begin(), command.inputs.end()});
  if (command.split != "none") {
    const bool is_blank = command.split == "blank-lines";
    options.documents.split = is_blank ? data::TextSplit::BlankLines : data::TextSplit::Pattern;
    options.documents.pattern = is_blank ? "" : command.split;
  }
  options.repairs_utf8 = command.invalid_utf8 == "repair";
  options.drops_exact_duplicates = !command.keeps_duplicates;
  options.evaluation_files = {command.evaluation_files.begin(), command.evaluation_files.end()};
  if (command.quality == "prose") {
    options.quality = data::QualityLimits::prose();
  }
  set(options.quality.min_characters, command.min_characters);
  set(options.quality.max_characters, command.max_characters);
  set(options.quality.min_letters, command.min_letters);
  set(options.quality.max_symbols, command.max_symbols);
  set(options.quality.max_repeated_lines, command.max_repeated_lines);
  set(options.quality.max_word_characters, command.max_word_characters);
  return options;
}

// A tokenizer alone says nothing about conversations; one that has DeepSeek-V4's control tokens is
// taken to mean its prompts.
text::TextModel open_for_training(const std::string& name) {
  const bool is_alone = fs::path(name).extension() == ".json";
  TextModel model =
      is_alone ? text::make_text_model(open_tokenizer(name), nullptr) : open_text_model(name);
  if (model.stop_ids.empty() && model.tokenizer->control_id(text::kV4EndOfText)) {
    model = text::make_text_model(model.tokenizer, open_chat_format("", ""));
  }
  return model;
}

std::optional<data::BuildTokenizer> open_build_tokenizer(const std::string& name) {
  if (name.empty()) {
    return std::nullopt;
  }
  data::BuildTokenizer tokenizer{.model = open_for_training(name), .source = name, .json = {}};
  const fs::path file = fs::is_directory(name) ? fs::path(name) / "tokenizer.json" : fs::path(name);
  if (file.extension() == ".json") {
    tokenizer.json = read_input(file.string());
  }
  return tokenizer;
}

// A line of progress per stage.
class StageProgress {
 public:
  void show(data::BuildStage stage, Index done, Index total) {
    if (!progress_ || stage != stage_) {
      progress_.reset();
      progress_ = std::make_unique<Progress>(name_of(stage), total, "MB of input", 1e6);
      stage_ = stage;
    }
    progress_->update(done);
  }

 private:
  static const char* name_of(data::BuildStage stage) {
    switch (stage) {
      case data::BuildStage::Select:
        return "choose documents";
      case data::BuildStage::TrainTokenizer:
        return "train the tokenizer";
      case data::BuildStage::Shards:
        return "write shards";
    }
    return "";
  }
  std::unique_ptr<Progress> progress_;
  data::BuildStage stage_ = data::BuildStage::Select;
};

void run_build(const BuildCommand& command, InterruptWatch& interrupts) {
  if (command.tokenizer.empty() != command.build.trained_vocabulary.has_value()) {
    fail(ErrorCode::InvalidArgument,
         "expected --tokenizer MODEL or --train-tokenizer SIZE, and not both");
  }
  const auto start = platform::Clock::now();
  const data::BuildOptions options = build_options(command);
  std::optional<data::BuildTokenizer> tokenizer = open_build_tokenizer(command.tokenizer);
  if (command.overwrite) {
    data::remove_build(options.out);
  }
  interrupts.set_answer(InterruptWatch::Answer::FlagBoth);
  platform::ThreadPool pool({.num_threads = command.num_threads});
  StageProgress progress;
  const data::Manifest manifest =
      data::build(options, std::move(tokenizer), pool,
                  {.progress = [&](data::BuildStage stage, Index done,
                                   Index total) { progress.show(stage, done, total); },
                   .is_stopped = [&] { return interrupts.is_interrupted(); }});
  Index documents = 0;
  Index tokens = 0;
  for (const data::ManifestShard& shard : manifest.shards) {
    documents += shard.num_documents;
    tokens += shard.num_tokens;
  }
  Report report;
  report.add("out", command.out);
  report.add("shards", to_index(manifest.shards.size()));
  report.add("documents", documents);
  report.add("tokens", tokens);
  report.add("vocabulary_size", manifest.vocabulary_size);
  report.add("tokenizer_fingerprint", manifest.fingerprint);
  report.add("report", command.out + "/data.json");
  add_run_facts(report, platform::seconds_since(start));
  report.print(command.json);
}

void add_document_options(CLI::App& command, BuildCommand& options) {
  data::DocumentOptions& documents = options.build.documents;
  command
      .add_option("--split", options.split,
                  "Of a .txt: none (a file is a document), blank-lines, or a pattern (POSIX "
                  "extended): every line that matches begins a document")
      ->capture_default_str()
      ->type_name("HOW");
  command.add_option("--text-field", documents.text_field, "Of the objects in a .jsonl")
      ->capture_default_str()
      ->type_name("NAME");
  command.add_option("--invalid-utf8", options.invalid_utf8, "repair (as U+FFFD) or drop")
      ->check(CLI::IsMember({"repair", "drop"}))
      ->capture_default_str()
      ->type_name("HOW");
  command.add_flag("--skip-broken-lines", documents.skips_broken_lines,
                   "Pass over lines of a .jsonl without a document, and count them");
  command.add_option("--max-document-bytes", documents.most_bytes, "Longer ones are refused")
      ->check(CLI::Range(Index{1}, Index{1} << 30))
      ->capture_default_str()
      ->type_name("N");
}

void add_filter_options(CLI::App& command, BuildCommand& options) {
  command.add_option("--quality", options.quality, "none, or prose: what is usual for web text")
      ->check(CLI::IsMember({"none", "prose"}))
      ->capture_default_str()
      ->type_name("NAME");
  const auto limit = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->check(CLI::NonNegativeNumber)->type_name("X");
  };
  limit("--min-characters", options.min_characters, "Shorter documents are refused");
  limit("--max-characters", options.max_characters, "Longer documents are refused; 0: none is");
  limit("--min-letters", options.min_letters, "Least share of letters, 0 to 1");
  limit("--max-symbols", options.max_symbols, "Largest share of symbols, 0 to 1");
  limit("--max-repeated-lines", options.max_repeated_lines,
        "Largest share of text in lines that stood before, 0 to 1");
  limit("--max-word-characters", options.max_word_characters, "Largest mean length of words");
  command.add_flag("--keep-duplicates", options.keeps_duplicates,
                   "Keep documents that differ in white space at most");
  command
      .add_option("--near-duplicates", options.build.near_threshold,
                  "Refuse what is as like an earlier document as this, 0.5 to 1 (0.8 is usual)")
      ->check(CLI::Range(0.5, 1.0))
      ->type_name("LIKENESS");
  command
      .add_option(
          "--decontaminate", options.evaluation_files,
          "Refuse documents that share 13 words in a row with an item of this file (.jsonl, "
          "or text with blank lines between items); repeatable")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
}

}  // namespace

Command add_data_build(CLI::App& group) {
  auto options = std::make_shared<BuildCommand>();
  CLI::App* command = group.add_subcommand(
      "build",
      "Make shards of tokens out of .txt and .jsonl files (also .gz) and folders of them.\n"
      "A .jsonl holds an object per line, with \"text\" or with \"messages\": conversations, of\n"
      "which only the replies are trained on. Asked again after an interruption, it goes on.");
  command->add_option("inputs", options->inputs, "Files and folders")
      ->required()
      ->type_name("INPUT");
  command->add_option("--out", options->out, "Folder of the data set")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--tokenizer", options->tokenizer,
                   "Of a model: its folder, tokenizer.json or .gguf")
      ->type_name("MODEL");
  command
      ->add_option("--train-tokenizer", options->build.trained_vocabulary,
                   "Make a tokenizer of so many tokens from the documents")
      ->check(CLI::Range(Index{258}, Index{1} << 20))
      ->type_name("SIZE");
  command->add_flag("--chat-tokens", options->build.has_chat_tokens,
                    "Give it the control tokens of DeepSeek-V4's conversations");
  add_document_options(*command, *options);
  add_filter_options(*command, *options);
  command
      ->add_option("--validation", options->build.validation_share,
                   "Share of the documents that are kept apart for validation")
      ->check(CLI::Range(0.0, 0.9))
      ->type_name("SHARE");
  command->add_option("--shard-tokens", options->build.shard_tokens, "A shard holds about as many")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->type_name("N");
  command->add_flag("--overwrite", options->overwrite, "Replace an older data set");
  add_threads_option(*command, options->num_threads);
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { run_build(*options, interrupts); }};
}

}  // namespace fathom::app
