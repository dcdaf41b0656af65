#include "fathom/train/data/build.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/file_lock.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/text/chat_encoder.h"
#include "fathom/model/text/json_text.h"
#include "fathom/train/data/bpe_trainer.h"
#include "fathom/train/data/build_state.h"
#include "fathom/train/data/document_encoder.h"
#include "fathom/train/data/selection.h"
#include "fathom/train/data/shard_writer.h"
#include "fathom/train/data/tokenizer_writer.h"
#include "fathom/train/data/words.h"

namespace fathom::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWorkFolder = ".build";
constexpr const char* kTokenizerFile = "tokenizer.json";
constexpr std::string_view kShardPrefix = "shard-";
constexpr std::string_view kPartial = ".partial-";

// What a killed process was writing.
void remove_partial_files(const fs::path& folder) {
  std::vector<fs::path> partial;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().find(kPartial) != std::string::npos) {
      partial.push_back(entry.path());
    }
  }
  for (const fs::path& path : partial) {
    fs::remove(path);
  }
}

class Build {
 public:
  Build(const BuildOptions& options,
        std::optional<BuildTokenizer> tokenizer,
        platform::ThreadPool& pool,
        const BuildHooks& hooks)
      : options_(options),
        tokenizer_(std::move(tokenizer)),
        pool_(pool),
        hooks_(hooks),
        work_(options.out / kWorkFolder) {}

  Manifest run() {
    fs::create_directories(options_.out);
    refuse_finished();
    fs::create_directories(work_);
    const auto lock = platform::FileLock::try_lock(work_ / "lock");
    if (!lock) {
      fail(ErrorCode::InvalidArgument, options_.out.string(),
           ": another process is building there");
    }
    begin_or_go_on();
    Selection selection(options_, work_, state_);
    selection.run(pool_, hooks_, [&] { save(); });
    const Decisions::Counts counts = selection.decisions().count();
    if (counts.kept == 0) {
      fail(ErrorCode::InvalidArgument, "no document is left: ", counts.documents,
           " were read, and ", describe_refusals(counts));
    }
    if (!tokenizer_) {
      train_tokenizer(selection.decisions());
    }
    write_shards(selection.decisions());
    return finish(selection, counts);
  }

 private:
  void save() { save_state(state_, work_ / "state.json"); }

  void refuse_finished() const {
    if (fs::exists(options_.out / kManifestFile)) {
      fail(ErrorCode::InvalidArgument, options_.out.string(),
           ": found a finished data set (data.json), expected an empty folder or an unfinished "
           "build; --overwrite replaces it");
    }
  }

  void begin_or_go_on() {
    std::string settings = options_.describe();
    if (tokenizer_) {
      settings += to_hex(DocumentEncoder(tokenizer_->model).fingerprint());
    }
    const std::string hash = to_hex(hash128(settings));
    if (auto found = load_state(work_ / "state.json")) {
      if (found->settings != hash) {
        fail(ErrorCode::InvalidArgument, options_.out.string(),
             ": found an unfinished build of other inputs, another tokenizer or other options, "
             "expected an empty folder; --overwrite starts anew");
      }
      state_ = std::move(*found);
      remove_partial_files(options_.out);
      remove_partial_files(work_);
    } else {
      state_.settings = hash;
      save();
    }
  }

  std::string describe_refusals(const Decisions::Counts& counts) const {
    std::string text;
    for (const RefusalRow& row : kRefusals) {
      if (const Index count = counts.refused[static_cast<std::size_t>(row.refusal)]; count > 0) {
        text += fmt::format("{}{} refused as {}", text.empty() ? "" : ", ", count, row.name);
      }
    }
    return text.empty() ? "the inputs hold none" : text;
  }

  void train_tokenizer(const Decisions& decisions) {
    const fs::path path = options_.out / kTokenizerFile;
    if (!state_.has_tokenizer) {
      BpeTrainer trainer;
      DocumentStream stream(options_.inputs, options_.documents);
      Index num_bytes = 0;
      for_each_kept_batch(stream, decisions, 0, [&](const std::vector<Document>& documents) {
        for (const Document& document : documents) {
          trainer.add(document.text);
          num_bytes += to_index(document.text.size());
        }
        report(hooks_, BuildStage::TrainTokenizer, stream.num_bytes_read() / 2,
               stream.num_bytes_total());
        return num_bytes < options_.most_training_bytes;
      });
      const TrainedVocabulary vocabulary = trainer.train(
          {.vocabulary_size = *options_.trained_vocabulary,
           .special = v4_special_tokens(options_.has_chat_tokens)},
          [&](Index done, Index total) {
            const Index half = stream.num_bytes_total() / 2;
            const double share = static_cast<double>(done) / static_cast<double>(total);
            report(hooks_, BuildStage::TrainTokenizer,
                   half + static_cast<Index>(share * static_cast<double>(half)),
                   stream.num_bytes_total());
          });
      platform::write_file(path, tokenizer_json(vocabulary));
      state_.has_tokenizer = true;
      save();
    }
    tokenizer_ =
        BuildTokenizer{.model = text::make_text_model(
                           text::Tokenizer::parse_json(platform::read_file(path), path.string()),
                           text::make_v4_format(text::dialects().front())),
                       .source = "trained on these documents",
                       .json = {}};
  }

  void write_shards(const Decisions& decisions) {
    if (!tokenizer_->json.empty()) {
      platform::write_file(options_.out / kTokenizerFile, tokenizer_->json);
    }
    const DocumentEncoder encoder(tokenizer_->model);
    DocumentStream stream(options_.inputs, options_.documents);
    std::optional<ShardWriter> writer;
    const auto finish_shard = [&](Index num_sharded) {
      const ShardHeader header = writer->finish();
      writer.reset();
      state_.shards.push_back({.file = shard_name(),
                               .num_documents = header.num_documents,
                               .num_tokens = header.num_tokens,
                               .num_targets = header.num_targets});
      state_.num_sharded = num_sharded;
      save();
    };
    const auto add = [&](const Document& document, const std::vector<EncodedDocument>& encoded) {
      if (!writer) {
        writer.emplace(options_.out / shard_name(), encoder.vocabulary_size(),
                       encoder.fingerprint());
      }
      const std::uint64_t hash = hash128(squeezed(document.text)).low;
      for (const EncodedDocument& each : encoded) {
        writer->add(each.tokens, each.counts, hash);
      }
      if (writer->num_tokens() >= options_.shard_tokens) {
        finish_shard(document.number + 1);
      }
    };
    for_each_kept_batch(
        stream, decisions, state_.num_sharded, [&](const std::vector<Document>& documents) {
          std::vector<std::vector<EncodedDocument>> encoded(documents.size());
          pool_.parallel_for(to_index(documents.size()), [&](Index i, int) {
            encoder.encode(documents[to_size(i)], encoded[to_size(i)]);
          });
          for (std::size_t i = 0; i < documents.size(); ++i) {
            add(documents[i], encoded[i]);
          }
          report(hooks_, BuildStage::Shards, stream.num_bytes_read(), stream.num_bytes_total());
          return true;
        });
    if (writer) {
      finish_shard(decisions.size());
    }
  }

  std::string shard_name() const {
    return fmt::format("{}{:05}", kShardPrefix, state_.shards.size());
  }

  Manifest finish(const Selection& selection, const Decisions::Counts& counts) {
    const DocumentEncoder encoder(tokenizer_->model);
    Manifest manifest;
    manifest.tokenizer_file = fs::exists(options_.out / kTokenizerFile) ? kTokenizerFile : "";
    manifest.fingerprint = to_hex(encoder.fingerprint());
    manifest.vocabulary_size = encoder.vocabulary_size();
    manifest.validation_share = options_.validation_share;
    manifest.shards = state_.shards;
    manifest.notes = notes(selection, counts);
    if (!options_.evaluation_files.empty()) {
      platform::write_file(options_.out / kHitsFile, platform::read_file(work_ / kHitsFile));
    }
    platform::write_file(options_.out / kManifestFile, print_manifest(manifest));
    fs::remove_all(work_);
    return manifest;
  }

  std::string notes(const Selection& selection, const Decisions::Counts& counts) const {
    std::string refused;
    for (const RefusalRow& row : kRefusals) {
      refused += fmt::format("{}\"{}\": {}", refused.empty() ? "" : ", ", row.name,
                             counts.refused[static_cast<std::size_t>(row.refusal)]);
    }
    Index documents = 0;
    Index tokens = 0;
    for (const ManifestShard& shard : state_.shards) {
      documents += shard.num_documents;
      tokens += shard.num_tokens;
    }
    std::string inputs;
    for (const Input& input : options_.inputs) {
      inputs += fmt::format("{}\n  {{\"path\": {}, \"bytes\": {}}}", inputs.empty() ? "" : ",",
                            text::json_string(input.path.string()), input.num_bytes);
    }
    return fmt::format(
        "\"documents\": {},\n \"tokens\": {},\n \"tokenizer_source\": {},\n"
        " \"report\": {{\"read\": {}, \"kept\": {}, \"repaired\": {}, \"broken_lines\": {},\n"
        "  \"refused\": {{{}}},\n  \"evaluation_items\": {}, \"short_evaluation_items\": {}}},\n"
        " \"settings\": {},\n \"inputs\": [{}\n ]",
        documents, tokens, text::json_string(tokenizer_->source), counts.documents, counts.kept,
        counts.repaired, state_.num_broken_lines, refused, selection.contamination().num_items(),
        selection.contamination().num_short_items(), settings(), inputs);
  }

  std::string settings() const {
    const QualityLimits& quality = options_.quality;
    return fmt::format(
        "{{\"drops_exact_duplicates\": {}, \"near_threshold\": {}, \"repairs_utf8\": {},\n"
        "  \"min_characters\": {}, \"max_characters\": {}, \"min_letters\": {}, \"max_symbols\": "
        "{},\n  \"max_repeated_lines\": {}, \"max_word_characters\": {}, \"shard_tokens\": {}}}",
        options_.drops_exact_duplicates,
        options_.near_threshold ? fmt::format("{}", *options_.near_threshold) : "null",
        options_.repairs_utf8, quality.min_characters, quality.max_characters, quality.min_letters,
        quality.max_symbols, quality.max_repeated_lines, quality.max_word_characters,
        options_.shard_tokens);
  }

  const BuildOptions& options_;
  std::optional<BuildTokenizer> tokenizer_;
  platform::ThreadPool& pool_;
  const BuildHooks& hooks_;
  fs::path work_;
  BuildState state_;
};

}  // namespace

Manifest build(const BuildOptions& options,
               std::optional<BuildTokenizer> tokenizer,
               platform::ThreadPool& pool,
               const BuildHooks& hooks) {
  FATHOM_CHECK(tokenizer.has_value() != options.trained_vocabulary.has_value());
  return Build(options, std::move(tokenizer), pool, hooks).run();
}

void remove_build(const fs::path& out) {
  if (!fs::is_directory(out)) {
    return;
  }
  if (!fs::exists(out / kManifestFile) && !fs::exists(out / kWorkFolder)) {
    return;  // whatever is there is no build's
  }
  std::vector<fs::path> ours = {out / kManifestFile, out / kTokenizerFile, out / kHitsFile};
  for (const auto& entry : fs::directory_iterator(out)) {
    if (entry.path().filename().string().starts_with(kShardPrefix)) {
      ours.push_back(entry.path());
    }
  }
  for (const fs::path& path : ours) {
    fs::remove(path);
  }
  remove_partial_files(out);
  fs::remove_all(out / kWorkFolder);
}

}  // namespace fathom::data
