#include "fathom/train/data/bpe_trainer.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "fathom/train/data/tokenizer_writer.h"

#include "tests/support/expect_error.h"

namespace fathom::data {
namespace {

using Pair = std::pair<text::TokenId, text::TokenId>;

void ignore(Index, Index) {}

TrainedVocabulary train(const std::vector<std::string>& texts, Index size, Index min_count = 2) {
  BpeTrainer trainer;
  for (const std::string& text : texts) {
    trainer.add(text);
  }
  return trainer.train({.vocabulary_size = size, .min_count = min_count}, ignore);
}

// The definition: count every pair of every piece again before each merge.
std::vector<Pair> merges_by_definition(std::vector<std::pair<std::vector<Index>, Index>> words,
                                       std::map<std::string, Index> ids,
                                       std::vector<std::string> tokens,
                                       Index size) {
  std::vector<Pair> merges;
  while (to_index(tokens.size()) < size) {
    std::map<Pair, Index> counts;
    for (const auto& [word, count] : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) {
        counts[{static_cast<text::TokenId>(word[i]), static_cast<text::TokenId>(word[i + 1])}] +=
            count;
      }
    }
    Pair best;
    Index most = 1;
    for (const auto& [pair, count] : counts) {
      if (count > most) {  // ascending pairs: the first of equals stays
        most = count;
        best = pair;
      }
    }
    if (most < 2) {
      break;
    }
    const std::string bytes = tokens[static_cast<std::size_t>(best.first)] +
                              tokens[static_cast<std::size_t>(best.second)];
    const auto [found, is_new] = ids.emplace(bytes, to_index(tokens.size()));
    if (is_new) {
      tokens.push_back(bytes);
    }
    merges.push_back(best);
    for (auto& [word, count] : words) {
      std::vector<Index> merged;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool is_pair =
            i + 1 < word.size() && word[i] == best.first && word[i + 1] == best.second;
        merged.push_back(is_pair ? found->second : word[i]);
        i += is_pair ? 1 : 0;
      }
      word = merged;
    }
  }
  return merges;
}

TEST(BpeTrainer, MergesAreThoseOfTheDefinition) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 30; ++trial) {
    // Few letters: many ties, and pairs that overlap themselves.
    std::map<std::string, Index> pieces;
    std::vector<std::string> texts;
    for (int i = 0; i < 40; ++i) {
      std::string piece;
      for (std::size_t length = 1 + random() % 9; length > 0; --length) {
        piece += static_cast<char>('a' + random() % (1 + static_cast<std::size_t>(trial) % 4));
      }
      ++pieces[piece];
      texts.push_back(piece);
    }
    const TrainedVocabulary vocabulary = train(texts, 256 + 40);
    const std::vector<std::string> bytes(vocabulary.tokens.begin(),
                                         vocabulary.tokens.begin() + 256);
    std::map<std::string, Index> ids;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      ids[bytes[i]] = to_index(i);
    }
    std::vector<std::pair<std::vector<Index>, Index>> words;
    for (const auto& [piece, count] : pieces) {
      std::vector<Index> word;
      for (const char letter : piece) {
        word.push_back(ids.at(std::string(1, letter)));
      }
      words.emplace_back(word, count);
    }
    EXPECT_EQ(vocabulary.merges, merges_by_definition(words, ids, bytes, 256 + 40)) << trial;
  }
}

TEST(BpeTrainer, StopsWhereNothingIsFrequentEnough) {
  // The pieces are "ab" and " ab": only a and b stand together twice.
  EXPECT_EQ(train({"ab ab"}, 1000).merges.size(), 1U);
  EXPECT_EQ(train({"abc"}, 1000).merges.size(), 0U);
  EXPECT_EQ(train({"abc"}, 1000, 1).merges.size(), 2U);
}

TEST(BpeTrainer, OrderOfTextsDoesNotMatter) {
  const std::vector<std::string> texts = {"the theory", "there, then", "other 12345 others"};
  const std::vector<std::string> turned = {texts[2], texts[0], texts[1]};
  EXPECT_EQ(train(texts, 300).merges, train(turned, 300).merges);
}

TEST(BpeTrainer, VocabularyHasRoomForBytesAndSpecialTokens) {
  BpeTrainer trainer;
  EXPECT_TRUE(fathom::testing::fails_with(
      ErrorCode::InvalidArgument, "found 257, expected at least 258", [&] {
        trainer.train({.vocabulary_size = 257, .special = {"<a>", "<b>"}}, ignore);
      }));
}

TEST(BpeTrainer, ForgetsTheRarestPiecesWhenThereAreTooMany) {
  BpeTrainer trainer(100);
  for (int i = 0; i < 500; ++i) {
    trainer.add("common x" + std::to_string(i % 10) + "y" +
                std::string(1, static_cast<char>('a' + i % 26)) +
                std::string(1, static_cast<char>('a' + i / 26)));
    EXPECT_LE(trainer.num_pieces(), 104);
  }
  const TrainedVocabulary vocabulary = trainer.train({.vocabulary_size = 262}, ignore);
  EXPECT_EQ(vocabulary.tokens.back(), "common");
}

}  // namespace
}  // namespace fathom::data
