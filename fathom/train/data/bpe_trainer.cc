#include "fathom/train/data/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <queue>
#include <set>

#include "fathom/base/core/error.h"
#include "fathom/model/text/byte_alphabet.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {
namespace {

using text::TokenId;

constexpr std::size_t kLongestPiece = 256;

struct Candidate {
  Index count;
  TokenId left;
  TokenId right;

  // The last of a priority queue's order comes first.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count
                                : std::pair(left, right) > std::pair(other.left, other.right);
  }
};

std::uint64_t key_of(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// The pieces as symbols, and where each pair of neighbours is.
class Merger {
 public:
  void add_piece(std::string_view piece, Index count, const std::array<TokenId, 256>& ids) {
    const auto word = static_cast<std::uint32_t>(words_.size());
    words_.push_back({.begin = to_index(symbols_.size()),
                      .size = static_cast<std::uint32_t>(piece.size()),
                      .count = count});
    for (const char letter : piece) {
      symbols_.push_back(ids[static_cast<unsigned char>(letter)]);
    }
    const TokenId* const symbols = symbols_.data() + words_.back().begin;
    for (std::size_t i = 0; i + 1 < piece.size(); ++i) {
      change(symbols[i], symbols[i + 1], count, word);
    }
  }

  void begin() {
    for (const auto& [key, pair] : pairs_) {
      queue_.push({pair.count, static_cast<TokenId>(key >> 32), static_cast<TokenId>(key)});
    }
    touched_.clear();
  }

  // The pair to be merged next; nothing when none is frequent enough.
  std::optional<Candidate> next(Index min_count) {
    while (!queue_.empty()) {
      Candidate best = queue_.top();
      queue_.pop();
      const Index count = pairs_.at(key_of(best.left, best.right)).count;
      if (count != best.count) {  // it went down since it was put there
        best.count = count;
        queue_.push(best);
        continue;
      }
      return count >= std::max(min_count, Index{1}) ? std::optional(best) : std::nullopt;
    }
    return std::nullopt;
  }

  void merge(const Candidate& pair, TokenId merged) {
    ++num_merges_;
    const std::uint64_t merged_key = key_of(pair.left, pair.right);
    const std::vector<std::uint32_t> words = std::move(pairs_.at(merged_key).words);
    pairs_.at(merged_key).words.clear();
    for (const std::uint32_t word : words) {
      merge_in(word, pair, merged);
    }
    // Where pairs overlap, as in "aaa", one was counted that is not there any more.
    pairs_.at(merged_key).count = 0;
    for (const std::uint64_t key : touched_) {
      queue_.push(
          {pairs_.at(key).count, static_cast<TokenId>(key >> 32), static_cast<TokenId>(key)});
    }
    touched_.clear();
  }

 private:
  struct Word {
    Index begin;  // in symbols_
    std::uint32_t size;
    Index count;
  };
  struct Pair {
    Index count = 0;
    Index last_raised = -1;            // the merge that made more of it
    std::vector<std::uint32_t> words;  // that hold it, or did
  };

  void change(TokenId left, TokenId right, Index by, std::uint32_t word) {
    const std::uint64_t key = key_of(left, right);
    Pair& pair = pairs_[key];
    pair.count += by;
    if (by < 0) {
      return;
    }
    if (pair.words.empty() || pair.words.back() != word) {
      pair.words.push_back(word);
    }
    if (pair.last_raised != num_merges_) {
      pair.last_raised = num_merges_;
      touched_.push_back(key);
    }
  }

  void merge_in(std::uint32_t word_idx, const Candidate& pair, TokenId merged) {
    Word& word = words_[word_idx];
    TokenId* const symbols = symbols_.data() + word.begin;
    std::uint32_t size = 0;  // of what is merged so far
    for (std::uint32_t i = 0; i < word.size; ++i) {
      const bool is_pair =
          symbols[i] == pair.left && i + 1 < word.size && symbols[i + 1] == pair.right;
      if (!is_pair) {
        symbols[size++] = symbols[i];
        continue;
      }
      if (size > 0) {
        change(symbols[size - 1], pair.left, -word.count, word_idx);
        change(symbols[size - 1], merged, word.count, word_idx);
      }
      if (i + 2 < word.size) {
        change(pair.right, symbols[i + 2], -word.count, word_idx);
        change(merged, symbols[i + 2], word.count, word_idx);
      }
      symbols[size++] = merged;
      ++i;
    }
    word.size = size;
  }

  std::vector<TokenId> symbols_;
  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, Pair> pairs_;
  std::vector<std::uint64_t> touched_;  // pairs that this merge made more of
  Index num_merges_ = 0;
  std::priority_queue<Candidate> queue_;
};

// Ids of the bytes, from `first` on, in the order of the characters that stand for them.
std::array<TokenId, 256> byte_ids(TokenId first, std::vector<std::string>& tokens) {
  std::array<std::uint8_t, 256> bytes{};
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  std::sort(bytes.begin(), bytes.end(), [](std::uint8_t left, std::uint8_t right) {
    return text::code_of_byte(left) < text::code_of_byte(right);
  });
  std::array<TokenId, 256> ids{};
  for (const std::uint8_t byte : bytes) {
    ids[byte] = first++;
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  return ids;
}

}  // namespace

text::PreTokenizer v4_pre_tokenizer() {
  return text::PreTokenizer({{.find = text::scanner_of(text::SplitPattern::ThreeNumbers)},
                             {.find = text::scanner_of(text::SplitPattern::HanKana)},
                             {.find = text::scanner_of(text::SplitPattern::DeepseekWords)}});
}

std::size_t BpeTrainer::TextHash::operator()(std::string_view text) const {
  return hash64(text);
}

BpeTrainer::BpeTrainer(Index most_pieces)
    : pre_tokenizer_(v4_pre_tokenizer()), most_pieces_(most_pieces) {}

void BpeTrainer::add(std::string_view text) {
  pre_tokenizer_.split(text, [&](std::string_view piece) {
    if (piece.size() > kLongestPiece) {
      return;
    }
    const auto found = counts_.find(piece);
    if (found != counts_.end()) {
      ++found->second;
    } else {
      counts_.emplace(piece, 1);
    }
  });
  if (num_pieces() > most_pieces_) {
    forget_rare();
  }
}

void BpeTrainer::forget_rare() {
  for (Index rare = 1; num_pieces() > most_pieces_ / 2; ++rare) {
    std::erase_if(counts_, [&](const auto& entry) { return entry.second <= rare; });
  }
}

TrainedVocabulary BpeTrainer::train(const BpeOptions& options,
                                    const std::function<void(Index done, Index total)>& progress) {
  TrainedVocabulary vocabulary;
  vocabulary.special = options.special;
  vocabulary.tokens = options.special;
  const auto num_special = static_cast<TokenId>(options.special.size());
  const std::array<TokenId, 256> ids = byte_ids(num_special, vocabulary.tokens);
  if (options.vocabulary_size < to_index(vocabulary.tokens.size())) {
    fail(ErrorCode::InvalidArgument, "vocabulary size: found ", options.vocabulary_size,
         ", expected at least ", vocabulary.tokens.size(), " (", num_special,
         " special tokens and 256 bytes)");
  }
  // The same order, whatever the hash table's is.
  std::vector<std::pair<std::string, Index>> pieces(counts_.begin(), counts_.end());
  decltype(counts_)().swap(counts_);
  std::sort(pieces.begin(), pieces.end());
  Merger merger;
  for (const auto& [piece, count] : pieces) {
    merger.add_piece(piece, count, ids);
  }
  decltype(pieces)().swap(pieces);
  merger.begin();
  // Two pairs may make the same bytes: they are one token.
  std::unordered_map<std::string, TokenId> known;
  std::set<std::pair<TokenId, TokenId>> merged_pairs;
  while (to_index(vocabulary.tokens.size()) < options.vocabulary_size) {
    const std::optional<Candidate> best = merger.next(options.min_count);
    if (!best) {
      break;
    }
    const std::string bytes = vocabulary.tokens[static_cast<std::size_t>(best->left)] +
                              vocabulary.tokens[static_cast<std::size_t>(best->right)];
    const auto new_id = static_cast<TokenId>(vocabulary.tokens.size());
    const auto [found, is_new] = known.emplace(bytes, new_id);
    if (is_new) {
      vocabulary.tokens.push_back(bytes);
    }
    // A pair comes up again when another pair makes one of its halves: its rank is the first one.
    const std::pair pair(best->left, best->right);
    if (merged_pairs.insert(pair).second) {
      vocabulary.merges.push_back(pair);
    }
    merger.merge(*best, found->second);
    progress(to_index(vocabulary.tokens.size()), options.vocabulary_size);
  }
  return vocabulary;
}

}  // namespace fathom::data
