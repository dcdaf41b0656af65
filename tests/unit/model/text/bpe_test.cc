#include "fathom/model/text/bpe.h"

#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

// Letters a to h as tokens 0 to 7, and random merges of what is there already.
BpeParts random_parts(std::mt19937& random, Index num_merges) {
  BpeParts parts;
  parts.byte_tokens.fill(kNoToken);
  for (TokenId id = 0; id < 8; ++id) {
    parts.tokens.set(id, std::string(1, static_cast<char>('a' + id)));
    parts.tokens.make_findable(id);
    parts.byte_tokens[static_cast<std::size_t>('a' + id)] = id;
  }
  parts.merges.reserve(num_merges);
  for (std::uint32_t rank = 0; rank < num_merges; ++rank) {
    const auto pick = [&] {
      return static_cast<TokenId>(static_cast<Index>(random()) % parts.tokens.num_ids());
    };
    const TokenId left = pick();
    const TokenId right = pick();
    const std::string merged =
        std::string(parts.tokens.bytes(left)) + std::string(parts.tokens.bytes(right));
    TokenId id = parts.tokens.find(merged);
    if (id == kNoToken) {
      id = static_cast<TokenId>(parts.tokens.num_ids());
      parts.tokens.set(id, merged);
      parts.tokens.make_findable(id);
    }
    parts.merges.add(left, right, {rank, id});
  }
  parts.num_tokens = parts.tokens.num_ids();
  return parts;
}

// The definition: again and again the pair of lowest rank, the leftmost of them.
std::vector<TokenId> merge_by_definition(const BpeParts& parts, std::string_view piece) {
  std::vector<TokenId> symbols;
  for (const char letter : piece) {
    symbols.push_back(parts.byte_tokens[static_cast<unsigned char>(letter)]);
  }
  while (true) {
    Merge best{Merge::kNever, kNoToken};
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge merge = parts.merges.find(symbols[i], symbols[i + 1]);
      if (merge.rank < best.rank) {
        best = merge;
        at = i;
      }
    }
    if (best.rank == Merge::kNever) {
      return symbols;
    }
    symbols[at] = best.token;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, EqualsTheDefinitionForShortAndLongPieces) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    const BpeParts parts = random_parts(random, 80);
    const Bpe bpe(parts);
    BpeScratch scratch;
    for (int i = 0; i < 40; ++i) {
      std::string piece;
      const std::size_t size = i % 4 == 0 ? 60 + random() % 200 : 1 + random() % 12;
      while (piece.size() < size) {
        piece += static_cast<char>('a' + random() % (i % 2 == 0 ? 2 : 8));
      }
      std::vector<TokenId> ids;
      bpe.encode(piece, scratch, ids);
      ASSERT_EQ(ids, merge_by_definition(parts, piece)) << piece;
      ids.clear();
      bpe.encode(piece, scratch, ids);  // what was remembered about the whole piece holds
      ASSERT_EQ(ids, merge_by_definition(parts, piece)) << piece;
    }
  }
}

TEST(Bpe, ThreadsThatShareItAgree) {
  std::mt19937 random(4);
  const BpeParts parts = random_parts(random, 200);
  const Bpe bpe(parts);
  const auto encode_all = [&](std::vector<TokenId>& ids) {
    BpeScratch scratch;
    for (TokenId id = 0; id < parts.num_tokens; ++id) {
      bpe.encode(parts.tokens.bytes(id), scratch, ids);
    }
  };
  std::vector<std::vector<TokenId>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] { encode_all(result); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const auto& result : results) {
    EXPECT_EQ(result, results.front());
  }
}

TEST(Bpe, AWholePieceIsItsTokenWhenMergesAreIgnored) {
  BpeParts parts;
  parts.byte_tokens.fill(kNoToken);
  for (TokenId id = 0; id < 2; ++id) {
    parts.tokens.set(id, std::string(1, static_cast<char>('a' + id)));
    parts.tokens.make_findable(id);
    parts.byte_tokens[static_cast<std::size_t>('a' + id)] = id;
  }
  parts.tokens.set(2, "ab");  // no merge makes it
  parts.tokens.make_findable(2);
  parts.num_tokens = 3;
  for (const bool ignores : {false, true}) {
    parts.ignores_merges = ignores;
    std::vector<TokenId> ids;
    BpeScratch scratch;
    Bpe(parts).encode("ab", scratch, ids);
    EXPECT_EQ(ids, ignores ? std::vector<TokenId>{2} : (std::vector<TokenId>{0, 1}));
  }
}

TEST(Bpe, BytesWithoutATokenAreLeftOutOrUnknown) {
  std::mt19937 random(5);
  BpeParts parts = random_parts(random, 0);
  BpeScratch scratch;
  std::vector<TokenId> ids;
  Bpe(parts).encode("axxb", scratch, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 1}));
  parts.unknown = 7;
  ids.clear();
  Bpe(parts).encode("axxb", scratch, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 7, 7, 1}));
  parts.fuses_unknown = true;
  ids.clear();
  Bpe(parts).encode("hxxb", scratch, ids);  // h is the unknown token, and no unknown itself
  EXPECT_EQ(ids, (std::vector<TokenId>{7, 7, 1}));
}

TEST(Bpe, AMillionLettersTakeNoSquareOfTheirTime) {
  std::mt19937 random(6);
  const BpeParts parts = random_parts(random, 300);
  std::string piece;
  while (piece.size() < 1'000'000) {
    piece += static_cast<char>('a' + random() % 8);
  }
  BpeScratch scratch;
  std::vector<TokenId> ids;
  Bpe(parts).encode(piece, scratch, ids);
  std::string text;
  for (const TokenId id : ids) {
    text += parts.tokens.bytes(id);
  }
  EXPECT_TRUE(text == piece);
}

}  // namespace
}  // namespace fathom::text
