#include "fathom/model/text/bpe.h"

#include <algorithm>
#include <functional>

#include "fathom/base/core/error.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

// Up to here, looking through all pairs for the next merge is faster than a queue.
constexpr std::size_t kLongestScan = 64;

constexpr std::uint64_t kNoMerge = std::uint64_t{Merge::kNever} << 32;
constexpr std::uint32_t kEnd = UINT32_MAX;

std::uint64_t rank_of(std::uint64_t merge) {
  return merge >> 32;
}
TokenId token_of(std::uint64_t merge) {
  return static_cast<TokenId>(static_cast<std::uint32_t>(merge));
}

}  // namespace

Bpe::Bpe(BpeParts parts)
    : parts_(std::move(parts)),
      wholes_(std::make_unique<std::atomic<Whole>[]>(to_size(parts_.tokens.num_ids()))) {}

std::uint64_t Bpe::find_merge(TokenId left, TokenId right) const {
  const Merge merge = parts_.merges.find(left, right);
  return std::uint64_t{merge.rank} << 32 | static_cast<std::uint32_t>(merge.token);
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const {
  if (piece.size() >= kEnd) {
    fail(ErrorCode::InvalidArgument, "a text has ", piece.size(),
         " bytes without a place to cut it, expected less than ", kEnd);
  }
  const TokenId whole = parts_.tokens.find(piece);
  const bool is_token = whole != kNoToken && whole < parts_.num_tokens;
  if (is_token && (parts_.ignores_merges || wholes_[static_cast<std::size_t>(whole)].load(
                                                std::memory_order_relaxed) == Whole::Merges)) {
    ids.push_back(whole);
    return;
  }
  make_symbols(piece, scratch.symbols);
  scratch.symbols.size() <= kLongestScan ? merge_short(scratch) : merge_long(scratch);
  if (is_token) {
    const bool merges = scratch.symbols.size() == 1 && scratch.symbols.front() == whole;
    wholes_[static_cast<std::size_t>(whole)].store(merges ? Whole::Merges : Whole::DoesNotMerge,
                                                   std::memory_order_relaxed);
  }
  for (const TokenId symbol : scratch.symbols) {
    if (symbol < parts_.num_tokens) {
      ids.push_back(symbol);
    } else {
      add_unknown(parts_.tokens.bytes(symbol), ids);
    }
  }
}

void Bpe::make_symbols(std::string_view piece, std::vector<TokenId>& symbols) const {
  symbols.clear();
  if (parts_.alphabet == Alphabet::Characters) {
    for (std::size_t i = 0; i < piece.size();) {
      const std::string_view character = piece.substr(i, utf8_length(piece.data() + i));
      const TokenId token = parts_.tokens.find(character);
      if (token != kNoToken) {
        symbols.push_back(token);
      } else {
        add_unknown(character, symbols);
      }
      i += character.size();
    }
    return;
  }
  for (const char letter : piece) {
    const TokenId token = parts_.byte_tokens[static_cast<unsigned char>(letter)];
    if (token != kNoToken) {
      symbols.push_back(token);
    } else {
      add_unknown({}, symbols);
    }
  }
}

void Bpe::add_unknown(std::string_view character, std::vector<TokenId>& symbols) const {
  const auto token_of_byte = [&](char byte) {
    return parts_.byte_tokens[static_cast<unsigned char>(byte)];
  };
  if (!character.empty() && std::all_of(character.begin(), character.end(), [&](char byte) {
        return token_of_byte(byte) != kNoToken;
      })) {
    for (const char byte : character) {
      symbols.push_back(token_of_byte(byte));
    }
  } else if (parts_.unknown &&
             !(parts_.fuses_unknown && !symbols.empty() && symbols.back() == *parts_.unknown)) {
    symbols.push_back(*parts_.unknown);
  }
}

void Bpe::merge_short(BpeScratch& scratch) const {
  std::vector<TokenId>& symbols = scratch.symbols;
  if (symbols.size() < 2) {
    return;
  }
  std::uint64_t merges[kLongestScan];
  std::size_t num_pairs = symbols.size() - 1;
  for (std::size_t i = 0; i < num_pairs; ++i) {
    merges[i] = find_merge(symbols[i], symbols[i + 1]);
  }
  while (num_pairs > 0) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < num_pairs; ++i) {
      best = rank_of(merges[i]) < rank_of(merges[best]) ? i : best;
    }
    if (merges[best] >= kNoMerge) {
      break;
    }
    symbols[best] = token_of(merges[best]);
    std::copy(symbols.begin() + to_index(best) + 2, symbols.begin() + to_index(num_pairs) + 1,
              symbols.begin() + to_index(best) + 1);
    std::copy(merges + best + 1, merges + num_pairs, merges + best);
    --num_pairs;
    if (best > 0) {
      merges[best - 1] = find_merge(symbols[best - 1], symbols[best]);
    }
    if (best < num_pairs) {
      merges[best] = find_merge(symbols[best], symbols[best + 1]);
    }
  }
  symbols.resize(num_pairs + 1);
}

// Symbols as a linked list; a queue of rank and position, the leftmost first of one rank. An entry
// whose pair has changed since is stale: its rank is not that of the pair at its position.
void Bpe::merge_long(BpeScratch& scratch) const {
  std::vector<TokenId>& symbols = scratch.symbols;
  std::vector<std::uint64_t>& merges = scratch.merges;  // of a symbol with its right neighbour
  std::vector<std::uint64_t>& queue = scratch.queue;
  const auto size = static_cast<std::uint32_t>(symbols.size());
  merges.assign(size, kNoMerge);
  scratch.next.resize(size);
  scratch.previous.resize(size);
  queue.clear();
  for (std::uint32_t i = 0; i < size; ++i) {
    scratch.next[i] = i + 1 < size ? i + 1 : kEnd;
    scratch.previous[i] = i > 0 ? i - 1 : kEnd;
    if (i + 1 < size) {
      merges[i] = find_merge(symbols[i], symbols[i + 1]);
      if (merges[i] < kNoMerge) {
        queue.push_back(rank_of(merges[i]) << 32 | i);
      }
    }
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto update = [&](std::uint32_t left) {
    const std::uint32_t right = scratch.next[left];
    merges[left] = right == kEnd ? kNoMerge : find_merge(symbols[left], symbols[right]);
    if (merges[left] < kNoMerge) {
      queue.push_back(rank_of(merges[left]) << 32 | left);
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    }
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const std::uint64_t entry = queue.back();
    queue.pop_back();
    const auto left = static_cast<std::uint32_t>(entry);
    if (rank_of(merges[left]) != rank_of(entry)) {
      continue;
    }
    const std::uint32_t right = scratch.next[left];
    symbols[left] = token_of(merges[left]);
    symbols[right] = kNoToken;
    merges[right] = kNoMerge;
    scratch.next[left] = scratch.next[right];
    if (scratch.next[left] != kEnd) {
      scratch.previous[scratch.next[left]] = left;
    }
    update(left);
    if (scratch.previous[left] != kEnd) {
      update(scratch.previous[left]);
    }
  }
  std::erase(symbols, kNoToken);
}

}  // namespace fathom::text
