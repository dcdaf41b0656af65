// Small caches whose every number is told by the tokens before it, so that what a snapshot gives
// back can be judged without what was written.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/int16_rows.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom::kv::testing {

using Tokens = std::vector<std::int32_t>;

// A window layer, a compressed layer with all its streams, and one with keys and values.
inline std::vector<config::CacheStream> tiny_layout() {
  using config::StreamKind;
  const auto stream = [](Index layer_idx, StreamKind kind, Index width, Index tokens_per_row) {
    return config::CacheStream{.layer_idx = layer_idx,
                               .kind = kind,
                               .width = width,
                               .tokens_per_row = tokens_per_row,
                               .lookback_tokens = 0,
                               .block_tokens = 0,
                               .overlap_tokens = 0};
  };
  std::vector<config::CacheStream> layout = {
      stream(0, StreamKind::Window, 3, 1),          stream(1, StreamKind::Window, 3, 1),
      stream(1, StreamKind::CompressorInput, 4, 1), stream(1, StreamKind::Compressed, 3, 4),
      stream(1, StreamKind::IndexKey, 1, 4),        stream(2, StreamKind::Key, 2, 1)};
  layout[0].lookback_tokens = 19;
  layout[1].lookback_tokens = 19;
  layout[2].block_tokens = 4;
  layout[2].overlap_tokens = 4;
  layout[5].lookback_tokens = config::CacheStream::kAllTokens;
  return layout;
}

inline constexpr CacheOptions kTinyOptions = {.raw_tokens = 40, .checkpoint_interval = 64};

// All of them from one pool: a block of its own for each would be most of a test's time.
inline SequenceCache empty_cache(tensor::DType dtype = tensor::DType::F32) {
  static const auto pool = std::make_shared<PagePool>();
  return {tiny_layout(), dtype, kTinyOptions, pool};
}

// Number `column` of a row of a stream after a prefix of tokens with this hash.
inline double number_of(std::uint64_t prefix, Index stream_idx, Index column) {
  std::uint64_t state = prefix + static_cast<std::uint64_t>(16 * stream_idx + column) * 0x9E3779B9;
  state = (state ^ state >> 29U) * 0xBF58476D1CE4E5B9ULL;
  return static_cast<double>((state ^ state >> 32U) & 0xFFFFFF) / 64.0;  // exact as fp32
}

// For every number of tokens the hash of so many.
inline std::vector<std::uint64_t> prefixes_of(const Tokens& tokens) {
  std::vector<std::uint64_t> hashes = {1469598103934665603ULL};
  for (const std::int32_t token : tokens) {
    hashes.push_back((hashes.back() ^ static_cast<std::uint32_t>(token)) * 1099511628211ULL);
  }
  return hashes;
}

template <typename Real>
void append_rows(SequenceCache& cache, const Tokens& tokens, Index end) {
  const auto prefixes = prefixes_of(tokens);
  for (Index idx = 0; idx < to_index(cache.layout().size()); ++idx) {
    const config::CacheStream& stream = cache.layout()[to_size(idx)];
    std::vector<Real> rows;
    for (Index row = cache.stream(idx).num_rows(); row < end / stream.tokens_per_row; ++row) {
      for (Index column = 0; column < stream.width; ++column) {
        const auto prefix = prefixes[to_size((row + 1) * stream.tokens_per_row)];
        rows.push_back(static_cast<Real>(number_of(prefix, idx, column)));
      }
    }
    const Index count = to_index(rows.size()) / stream.width;
    cache.append(idx, {rows.data(), tensor::dtype_of<Real>(), {count, stream.width}});
  }
  cache.commit(end - cache.num_tokens());
}

// Brings a cache that holds the first of the tokens to all of them.
inline void extend(SequenceCache& cache, const Tokens& tokens) {
  while (cache.num_tokens() < to_index(tokens.size())) {
    const Index end = std::min(to_index(tokens.size()), cache.num_tokens() + 37);
    if (cache.dtype() == tensor::DType::F64) {
      append_rows<double>(cache, tokens, end);
    } else {
      append_rows<float>(cache, tokens, end);
    }
  }
}

inline SequenceCache cache_of(const Tokens& tokens, tensor::DType dtype = tensor::DType::F32) {
  SequenceCache cache = empty_cache(dtype);
  extend(cache, tokens);
  return cache;
}

inline double number_in(const tensor::PagedRows& rows, Index row, Index column) {
  switch (rows.dtype) {
    case tensor::DType::F64:
      return rows.table<double>().row(row)[column];
    case tensor::DType::BF16:
      return numeric::bf16_to_float(rows.table<std::uint16_t>().row(row)[column]);
    case tensor::DType::Int16Row: {
      const std::int16_t* codes = rows.table<std::int16_t>().row(row);
      return codes[column] * static_cast<double>(numeric::scale_of_int16_row(codes, rows.width));
    }
    default:
      return rows.table<float>().row(row)[column];
  }
}

inline ::testing::AssertionResult has_rows_of(const SequenceCache& cache, const Tokens& tokens) {
  const auto prefixes = prefixes_of(tokens);
  for (Index idx = 0; idx < to_index(cache.layout().size()); ++idx) {
    const config::CacheStream& stream = cache.layout()[to_size(idx)];
    const tensor::PagedRows rows = cache.rows(idx);
    for (Index row = 0; row < rows.num_rows; ++row) {
      for (Index column = 0; column < stream.width && cache.stream(idx).has_page(row / 16);
           ++column) {
        const auto prefix = prefixes[to_size((row + 1) * stream.tokens_per_row)];
        const double number = number_of(prefix, idx, column);
        const double expected = rows.dtype == tensor::DType::BF16
                                    ? double{numeric::round_bf16(static_cast<float>(number))}
                                    : number;
        // A row of codes has one number here, which the largest code stands for.
        const double limit = rows.dtype == tensor::DType::Int16Row ? 1e-6 * number : 0;
        const double found = number_in(rows, row, column);
        if (!(std::abs(found - expected) <= limit)) {
          return ::testing::AssertionFailure()
                 << "stream " << idx << " row " << row << " column " << column << " is " << found
                 << ", expected " << expected;
        }
      }
    }
  }
  return ::testing::AssertionSuccess();
}

// The cache holds exactly the tokens, could go on, and every row that is there is theirs.
inline ::testing::AssertionResult is_cache_of(const SequenceCache& cache, const Tokens& tokens) {
  if (cache.num_tokens() != to_index(tokens.size()) || !cache.is_resumable(cache.num_tokens())) {
    return ::testing::AssertionFailure() << cache.num_tokens() << " tokens, expected "
                                         << tokens.size() << ", with the rows to go on";
  }
  return has_rows_of(cache, tokens);
}

// Where a test that writes much keeps its folder: what is tested does not depend on a disk, and
// waiting for one would be most of the time.
inline std::filesystem::path fast_folder() {
  const std::filesystem::path memory = "/dev/shm";
  return std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
}

// Few different tokens, so that sequences share prefixes.
inline Tokens random_tokens(std::mt19937& random, Index count, std::uint32_t num_ids = 1000) {
  Tokens tokens(to_size(count));
  std::generate(tokens.begin(), tokens.end(),
                [&] { return static_cast<std::int32_t>(random() % num_ids); });
  return tokens;
}

}  // namespace fathom::kv::testing
