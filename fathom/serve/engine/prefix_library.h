// Sequences that were computed and are kept, so that a later request need not compute what it has
// in common with one of them.
//
// What is reused is equal token by token, so it is what the request would have computed, bit for
// bit. There is no smallest piece: a match may end anywhere. Forks share pages with what is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fathom/model/sampling/options.h"
#include "fathom/serve/engine/sequence_caches.h"

namespace fathom::engine {

using sampling::TokenId;

enum class RetainedId : std::uint64_t {};

// How many tokens two sequences have in common from the first on.
Index common_prefix(std::span<const TokenId> a, std::span<const TokenId> b);

class PrefixLibrary {
 public:
  // Keeps at most so many sequences.
  explicit PrefixLibrary(Index max_sequences) : max_sequences_(max_sequences) {}

  // The sequence of a scope with which `tokens` can go on furthest; num_tokens is where.
  struct Match {
    Index num_tokens = 0;
    RetainedId id{};
  };
  // Nothing when no sequence has anything in common.
  std::optional<Match> find(const std::string& scope, std::span<const TokenId> tokens) const;

  // A fork of a match. Counts as a use.
  SequenceCaches fork(const Match& match);

  // Keeps what is cached for `tokens` (as many as the cache holds), unless another sequence serves
  // as well; those that it serves for go.
  void insert(const std::string& scope, std::vector<TokenId> tokens, SequenceCaches caches);

  // Gives the sequence up that was of use least recently, those of `kept` excepted. False when
  // there is none.
  bool evict_one(const std::set<RetainedId>& kept = {});

  Index num_sequences() const { return to_index(sequences_.size()); }

 private:
  struct Retained {
    RetainedId id{};
    std::string scope;
    std::vector<TokenId> tokens;
    SequenceCaches caches;
    std::uint64_t last_use = 0;
  };
  // Whether whatever could go on from `a` can go on from `b` without computing more.
  static bool serves_for(const Retained& b, const Retained& a);

  Index max_sequences_;
  std::uint64_t num_uses_ = 0;
  std::uint64_t num_inserted_ = 0;
  std::vector<Retained> sequences_;
};

}  // namespace fathom::engine
