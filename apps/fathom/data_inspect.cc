// fathom data inspect: what a data set or one of its shards holds.
#include <filesystem>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/text_model.h"
#include "fathom/train/data/manifest.h"
#include "fathom/train/data/packed_source.h"
#include "fathom/train/data/shard.h"

#include "apps/fathom/data_build.h"
#include "apps/fathom/interrupt.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

struct InspectCommand {
  std::string path;
  bool verifies = false;
  std::optional<Index> document;
  bool json = false;
};

// The shards of a folder, or the one that is named.
std::vector<fs::path> shards_of(const fs::path& path) {
  return fs::is_directory(path) ? data::open_data_set(path).shards : std::vector<fs::path>{path};
}

void print_document(const InspectCommand& command) {
  const fs::path path = command.path;
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  Index number = *command.document;
  for (const fs::path& shard_path : shards_of(path)) {
    const data::Shard shard(shard_path);
    if (number >= shard.num_documents()) {
      number -= shard.num_documents();
      continue;
    }
    const auto tokenizer = open_tokenizer((folder / "tokenizer.json").string());
    std::vector<std::int32_t> tokens;
    std::vector<std::uint8_t> counts;
    shard.read(number, 0, shard.num_tokens(number), tokens, counts);
    print_out(text::decode(*tokenizer, tokens) + "\n");
    return;
  }
  fail(ErrorCode::InvalidArgument, "--document: found ", *command.document,
       ", expected a number below ", *command.document - number);
}

void run_inspect(const InspectCommand& command) {
  if (command.document) {
    print_document(command);
    return;
  }
  Report report;
  Index documents = 0;
  Index tokens = 0;
  Index targets = 0;
  Index validation = 0;
  data::ShardHeader last;
  const fs::path path = command.path;
  const bool is_folder = fs::is_directory(path);
  const double share = is_folder ? data::open_data_set(path).validation_share : 0;
  const std::vector<fs::path> shards = shards_of(path);
  Progress progress("read", to_index(shards.size()), "shards");
  for (const fs::path& shard_path : shards) {
    const data::Shard shard(shard_path);
    if (command.verifies) {
      shard.verify();
    }
    last = shard.header();
    documents += last.num_documents;
    tokens += last.num_tokens;
    targets += last.num_targets;
    for (Index document = 0; share > 0 && document < shard.num_documents(); ++document) {
      validation += data::is_validation(shard.hash(document), share) ? 1 : 0;
    }
    progress.update(&shard_path - shards.data() + 1);
  }
  progress.finish();
  report.add("path", command.path);
  report.add("shards", to_index(shards.size()));
  report.add("documents", documents);
  if (is_folder) {
    report.add("validation_documents", validation);
  }
  report.add("tokens", tokens);
  report.add("targets", targets);
  report.add("vocabulary_size", last.vocabulary_size);
  report.add("tokenizer_fingerprint", to_hex(last.fingerprint));
  report.add("verified", std::string(command.verifies ? "every byte" : "headers and boundaries"));
  report.print(command.json);
}

}  // namespace

Command add_data_inspect(CLI::App& group) {
  auto options = std::make_shared<InspectCommand>();
  CLI::App* command = group.add_subcommand("inspect", "What a data set or a shard holds");
  command->add_option("path", options->path, "A folder that data build made, or one of its shards")
      ->required()
      ->type_name("PATH");
  command->add_flag("--verify", options->verifies, "Read everything and compare the checksums");
  command->add_option("--document", options->document, "Print the text of a document, from 0")
      ->check(CLI::Range(Index{0}, kMaxCount))
      ->type_name("N");
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch&) { run_inspect(*options); }};
}

}  // namespace fathom::app
