// Batches out of shards: documents, shuffled and mixed, packed into sequences of one length.
//
// A document of m tokens gives m - 1 targets, in order: token i predicts token i + 1, the last one
// the end of the document. Sequences take documents one after another, each as a piece of its own;
// one that does not fit goes on in the next sequence, as a piece that sees nothing of what came
// before. Nothing is padded and nothing is left out: in an epoch every target of every document
// comes exactly once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fathom/train/data/batch.h"
#include "fathom/train/data/document_order.h"
#include "fathom/train/data/shard.h"

namespace fathom::text {
class JsonField;
}

namespace fathom::data {

// Shards that are shuffled together. Their vocabulary and tokenizer are the same.
struct DataSet {
  std::string name;  // for messages
  std::vector<std::filesystem::path> shards;
  // Of the tokens that are handed out, against the weights of the other sets. Nothing: as many as
  // the set's share of all tokens, so that sets without weights end their epochs together.
  std::optional<double> weight = {};
  double validation_share = 0;  // of its documents, by the hash of their text
};

// What `fathom data build` made in a folder. Throws Io and what read_manifest throws.
DataSet open_data_set(const std::filesystem::path& folder);

// Which documents: those that are trained on, or the ones kept apart.
enum class Split { Train, Validation };

// Whether a document is kept apart, by the hash of its text.
bool is_validation(std::uint64_t hash, double validation_share);

struct PackedOptions {
  Index sequence_tokens = 2048;
  Index num_sequences = 1;  // of a batch
  std::uint64_t seed = 0;
  Split split = Split::Train;
};

class PackedSource final : public BatchSource {
 public:
  // Throws what Shard throws; InvalidArgument for sets of different tokenizers, for one without a
  // document in the split, for weights that are not above 0.
  PackedSource(const std::vector<DataSet>& sets, const PackedOptions& options);

  // T = num_sequences x sequence_tokens. Within the mixture, the set that is furthest behind its
  // weight gives the next document.
  Batch next() override;
  // After a restore() that threw, the source has to be restored again before it is used.
  std::string state() const override;
  void restore(const std::string& state) override;

  Index vocabulary_size() const { return vocabulary_size_; }
  const Hash128& fingerprint() const { return fingerprint_; }  // of the tokenizer
  // Of all sets: documents of the split, and the tokens T they fill in one epoch.
  Index num_documents() const;
  Index num_tokens() const;
  // How often the set was gone through: 1.5 in the middle of its second epoch.
  double epochs_done(Index set_idx) const;

 private:
  struct Set {
    std::string name;
    std::vector<Shard> shards;
    std::vector<Index> first_documents;  // of each shard
    DocumentOrder order;
    Index tokens_per_epoch;
    double weight;
    Index next_place = 0;    // in the order
    Index tokens_taken = 0;  // of the documents begun
  };
  // A document of a set that is being packed.
  struct Current {
    Index set_idx;
    Index num_taken;
  };
  struct Place {
    const Shard& shard;
    Index document;
  };

  static Set open_set(const DataSet& description, const PackedOptions& options, Index set_idx);
  void check_tokenizers(const Set& set);
  static Place place_of(const Set& set, Index document);
  Place current_place() const;
  void begin_document();
  void fill(Batch& batch);
  void restore_current(const text::JsonField& field);

  PackedOptions options_;
  std::vector<Set> sets_;
  Index vocabulary_size_ = 0;
  Hash128 fingerprint_;
  std::string stream_;  // hash of the data and the settings
  std::optional<Current> current_;
  std::vector<std::int32_t> tokens_;  // of a piece, and the token after it
  std::vector<std::uint8_t> counts_;
};

}  // namespace fathom::data
