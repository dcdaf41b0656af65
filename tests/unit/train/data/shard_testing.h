// Documents of random tokens, and shards of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "fathom/train/data/shard.h"
#include "fathom/train/data/shard_writer.h"

namespace fathom::data::testing {

struct Document {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> counts;  // of every token; may be empty
  std::uint64_t hash = 0;
};

inline constexpr Hash128 kFingerprint = {.low = 5, .high = 7};

inline std::vector<Document> random_documents(
    std::mt19937_64& random, Index count, Index longest, Index vocabulary_size, bool has_flags) {
  std::vector<Document> documents(to_size(count));
  for (Document& document : documents) {
    const std::size_t size = 2 + random() % to_size(longest - 1);
    for (std::size_t i = 0; i < size; ++i) {
      document.tokens.push_back(static_cast<std::int32_t>(random() % to_size(vocabulary_size)));
      if (has_flags) {
        document.counts.push_back(random() % 2 == 0 ? 1 : 0);
      }
    }
    document.hash = random();
  }
  return documents;
}

inline ShardHeader write_shard(const std::filesystem::path& path,
                               const std::vector<Document>& documents,
                               Index vocabulary_size,
                               const Hash128& fingerprint = kFingerprint) {
  ShardWriter writer(path, vocabulary_size, fingerprint);
  for (const Document& document : documents) {
    writer.add(document.tokens, document.counts, document.hash);
  }
  return writer.finish();
}

}  // namespace fathom::data::testing
