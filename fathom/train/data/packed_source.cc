#include "fathom/train/data/packed_source.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_field.h"
#include "fathom/train/data/manifest.h"

namespace fathom::data {
namespace {

using text::JsonField;

constexpr std::int64_t kStateVersion = 1;
constexpr Index kMostTokens = Index{1} << 53;  // that a stream ever gives

void require_options(const PackedOptions& options) {
  constexpr Index kMost = Index{1} << 31;
  const auto total = checked_multiply(options.sequence_tokens, options.num_sequences);
  if (options.sequence_tokens < 1 || options.num_sequences < 1 || !total || *total > kMost) {
    fail(ErrorCode::InvalidArgument, "a batch of ", options.num_sequences, " sequences of ",
         options.sequence_tokens, " tokens, expected 1 to ", kMost, " tokens");
  }
}

std::string describe(const std::vector<DataSet>& sets,
                     const PackedOptions& options,
                     const std::vector<std::string>& contents) {
  std::string text = fmt::format("{} {} {} {}", options.sequence_tokens, options.num_sequences,
                                 options.seed, options.split == Split::Train);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    text += fmt::format("; {} {} {}", sets[i].weight.value_or(0), sets[i].validation_share,
                        contents[i]);
  }
  return to_hex(hash128(text));
}

Index count_of(const JsonField& field, Index highest) {
  const auto value = field.integer(0, highest);
  if (!value) {
    field.refuse("a count");
  }
  return *value;
}

}  // namespace

DataSet open_data_set(const std::filesystem::path& folder) {
  const Manifest manifest = read_manifest(folder);
  DataSet set;
  set.name = folder.string();
  set.validation_share = manifest.validation_share;
  for (const ManifestShard& shard : manifest.shards) {
    set.shards.push_back(folder / shard.file);
  }
  return set;
}

bool is_validation(std::uint64_t hash, double validation_share) {
  // The hash of equal texts is equal, so no text is on both sides. Mixed once more: other choices
  // that go by the hash are no relation of this one.
  const std::uint64_t mixed = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ULL;
  return std::ldexp(static_cast<double>(mixed >> 11), -53) < validation_share;
}

PackedSource::PackedSource(const std::vector<DataSet>& sets, const PackedOptions& options)
    : options_(options) {
  require_options(options);
  if (sets.empty()) {
    fail(ErrorCode::InvalidArgument, "no data set, expected at least one");
  }
  std::vector<std::string> contents;
  for (const DataSet& description : sets) {
    sets_.push_back(open_set(description, options, to_index(sets_.size())));
    check_tokenizers(sets_.back());
    std::string content;
    for (const Shard& shard : sets_.back().shards) {
      content += to_hex(hash128(encode_header(shard.header())));
    }
    contents.push_back(std::move(content));
  }
  stream_ = describe(sets, options, contents);
}

PackedSource::Set PackedSource::open_set(const DataSet& description,
                                         const PackedOptions& options,
                                         Index set_idx) {
  std::vector<Shard> shards;
  std::vector<Index> first_documents;
  std::vector<std::uint32_t> chosen;
  Index num_documents = 0;
  Index num_tokens = 0;
  for (const std::filesystem::path& path : description.shards) {
    const Shard& shard = shards.emplace_back(path);
    first_documents.push_back(num_documents);
    for (Index document = 0; document < shard.num_documents(); ++document, ++num_documents) {
      const bool is_apart = is_validation(shard.hash(document), description.validation_share);
      if (is_apart == (options.split == Split::Validation)) {
        chosen.push_back(static_cast<std::uint32_t>(num_documents));
        num_tokens += shard.num_tokens(document) - 1;
      }
    }
  }
  if (num_documents > Index{std::numeric_limits<std::uint32_t>::max()}) {
    fail(ErrorCode::InvalidArgument, description.name, ": ", num_documents,
         " documents, expected at most ", std::numeric_limits<std::uint32_t>::max(),
         " (make two data sets of it)");
  }
  if (chosen.empty()) {
    fail(ErrorCode::InvalidArgument, description.name, ": found no document for ",
         options.split == Split::Train ? "training" : "validation", " among ", num_documents,
         ", expected at least one (its validation share is ", description.validation_share, ")");
  }
  const double weight = description.weight.value_or(static_cast<double>(num_tokens));
  if (!(weight > 0) || !std::isfinite(weight)) {
    fail(ErrorCode::InvalidArgument, description.name, ": weight: found ", weight,
         ", expected a number above 0");
  }
  chosen.shrink_to_fit();
  const auto number = static_cast<std::uint64_t>(set_idx);
  return Set{.name = description.name,
             .shards = std::move(shards),
             .first_documents = std::move(first_documents),
             .order = DocumentOrder(std::move(chosen), options.seed + (number << 48)),
             .tokens_per_epoch = num_tokens,
             .weight = weight};
}

void PackedSource::check_tokenizers(const Set& set) {
  for (const Shard& shard : set.shards) {
    const ShardHeader& header = shard.header();
    if (vocabulary_size_ == 0) {
      vocabulary_size_ = header.vocabulary_size;
      fingerprint_ = header.fingerprint;
    }
    if (header.fingerprint != fingerprint_ || header.vocabulary_size != vocabulary_size_) {
      fail(ErrorCode::InvalidArgument, shard.name(), ": found a tokenizer of ",
           header.vocabulary_size, " tokens with fingerprint ", to_hex(header.fingerprint),
           ", expected ", vocabulary_size_, " tokens and ", to_hex(fingerprint_), " as in ",
           sets_.front().shards.front().name());
    }
  }
}

PackedSource::Place PackedSource::place_of(const Set& set, Index document) {
  const auto after =
      std::upper_bound(set.first_documents.begin(), set.first_documents.end(), document);
  const Index shard_idx = after - set.first_documents.begin() - 1;
  return {.shard = set.shards[to_size(shard_idx)],
          .document = document - set.first_documents[to_size(shard_idx)]};
}

PackedSource::Place PackedSource::current_place() const {
  const Set& set = sets_[to_size(current_->set_idx)];
  return place_of(set, set.order.at(set.next_place - 1));
}

void PackedSource::begin_document() {
  const auto progress = [](const Set& set) {
    return static_cast<double>(set.tokens_taken) / set.weight;
  };
  const auto chosen = std::min_element(
      sets_.begin(), sets_.end(),
      [&](const Set& left, const Set& right) { return progress(left) < progress(right); });
  if (chosen->next_place == chosen->order.size()) {
    chosen->order.set_epoch(chosen->order.epoch() + 1);
    chosen->next_place = 0;
  }
  const Place place = place_of(*chosen, chosen->order.at(chosen->next_place));
  ++chosen->next_place;
  chosen->tokens_taken += place.shard.num_tokens(place.document) - 1;
  current_ = Current{.set_idx = chosen - sets_.begin(), .num_taken = 0};
}

Batch PackedSource::next() {
  Batch batch;
  const std::size_t total = to_size(options_.sequence_tokens * options_.num_sequences);
  batch.tokens.reserve(total);
  batch.targets.reserve(total);
  batch.loss_weights.reserve(total);
  for (Index sequence = 0; sequence < options_.num_sequences; ++sequence) {
    fill(batch);
  }
  return batch;
}

void PackedSource::fill(Batch& batch) {
  for (Index room = options_.sequence_tokens; room > 0;) {
    if (!current_) {
      begin_document();
    }
    const Place place = current_place();
    const Index num_left = place.shard.num_tokens(place.document) - 1 - current_->num_taken;
    const Index count = std::min(room, num_left);
    tokens_.clear();
    counts_.clear();
    place.shard.read(place.document, current_->num_taken, count + 1, tokens_, counts_);
    batch.tokens.insert(batch.tokens.end(), tokens_.begin(), tokens_.end() - 1);
    batch.targets.insert(batch.targets.end(), tokens_.begin() + 1, tokens_.end());
    batch.loss_weights.insert(batch.loss_weights.end(), counts_.begin() + 1, counts_.end());
    batch.piece_tokens.push_back(count);
    room -= count;
    current_->num_taken += count;
    if (count == num_left) {
      current_.reset();
    }
  }
}

std::string PackedSource::state() const {
  std::string sets;
  for (const Set& set : sets_) {
    sets += fmt::format("{}{{\"epoch\":{},\"next\":{},\"tokens\":{}}}", sets.empty() ? "" : ",",
                        set.order.epoch(), set.next_place, set.tokens_taken);
  }
  const std::string current =
      current_ ? fmt::format("{{\"set\":{},\"taken\":{}}}", current_->set_idx, current_->num_taken)
               : "null";
  return fmt::format("{{\"version\":{},\"stream\":\"{}\",\"sets\":[{}],\"current\":{}}}",
                     kStateVersion, stream_, sets, current);
}

void PackedSource::restore(const std::string& state) {
  const text::JsonValue root = text::parse_json(state, "state of the data");
  const JsonField field(&root, "state of the data");
  if (field.member("version").integer(0, std::numeric_limits<int>::max()) != kStateVersion) {
    field.member("version").refuse(std::to_string(kStateVersion));
  }
  if (field.member("stream").text_or("") != stream_) {
    fail(ErrorCode::InvalidArgument, "state of the data: stream: found ",
         field.member("stream").text_or("nothing"), ", expected ", stream_,
         ": it belongs to other shards, weights, sequences or another seed");
  }
  const JsonField sets = field.member("sets");
  sets.require(JsonField::Kind::Array, "a list");
  if (sets.size() != to_index(sets_.size())) {
    sets.refuse(std::to_string(sets_.size()) + " sets");
  }
  for (Index i = 0; i < sets.size(); ++i) {
    Set& set = sets_[to_size(i)];
    const JsonField item = sets.item(i);
    set.order.set_epoch(count_of(item.member("epoch"), kMostTokens));
    set.next_place = count_of(item.member("next"), set.order.size());
    set.tokens_taken = count_of(item.member("tokens"), kMostTokens);
  }
  restore_current(field.member("current"));
}

void PackedSource::restore_current(const JsonField& field) {
  current_.reset();
  if (field.is_absent()) {
    return;
  }
  current_ = Current{.set_idx = count_of(field.member("set"), to_index(sets_.size()) - 1),
                     .num_taken = count_of(field.member("taken"), kMostTokens)};
  if (sets_[to_size(current_->set_idx)].next_place == 0) {
    field.refuse("a set that a document was taken from");
  }
  const Place place = current_place();
  if (current_->num_taken >= place.shard.num_tokens(place.document) - 1) {
    field.refuse("a place within its document");
  }
}

Index PackedSource::num_documents() const {
  Index total = 0;
  for (const Set& set : sets_) {
    total += set.order.size();
  }
  return total;
}

Index PackedSource::num_tokens() const {
  Index total = 0;
  for (const Set& set : sets_) {
    total += set.tokens_per_epoch;
  }
  return total;
}

double PackedSource::epochs_done(Index set_idx) const {
  const Set& set = sets_[to_size(set_idx)];
  const auto total = static_cast<double>(set.tokens_per_epoch);
  return static_cast<double>(set.tokens_taken) / total;
}

}  // namespace fathom::data
