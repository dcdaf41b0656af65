#include "fathom/model/weights/synth_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/small_floats.h"

namespace fathom::weights {
namespace {

using config::WeightRole;
using numeric::ScaleFormat;
using numeric::WeightFormat;

// splitmix64: the n-th number is a mixture of key + n * odd constant.
class Random {
 public:
  explicit Random(std::uint64_t key) : state_(key) {}

  std::uint64_t next() { return mix(state_ += kStep); }

  static std::uint64_t mix(std::uint64_t bits) {
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
    return bits ^ (bits >> 31);
  }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15U;
  std::uint64_t state_;
};

// The sum of four 16-bit uniforms: nearly normal, within 3.5 deviations, and free of libm, so that
// every machine draws the same bytes.
constexpr int kSumMean = 2 * 0xffff;
constexpr double kSumDeviation = 37837.2;  // 65536 / sqrt(3)
int normal_sum(std::uint64_t bits) {
  return static_cast<int>((bits & 0xffffU) + ((bits >> 16) & 0xffffU) + ((bits >> 32) & 0xffffU) +
                          (bits >> 48));
}

float draw(Random& random, const Distribution& distribution) {
  const std::uint64_t bits = random.next();
  if (distribution.kind == Distribution::Kind::Uniform) {
    const auto unit = static_cast<double>(bits >> 11) * 0x1p-53 - 0.5;
    return distribution.centre + distribution.spread * static_cast<float>(unit);
  }
  const double normal = (normal_sum(bits) - kSumMean) / kSumDeviation;
  return distribution.centre + distribution.spread * static_cast<float>(normal);
}

// Codes of E2M1 in the proportions of a normal distribution of deviation 2, for a random byte.
constexpr double kFp4Deviation = 1.96;  // of the codes as drawn
constexpr std::array<std::uint8_t, 256> make_fp4_codes() {
  constexpr std::array<int, 8> kCounts = {13, 25, 22, 19, 22, 17, 9, 1};  // of 128, either sign
  std::array<std::uint8_t, 256> codes{};
  std::size_t at = 0;
  for (std::uint8_t code = 0; code < 8; ++code) {
    for (int i = 0; i < kCounts[code]; ++i) {
      codes[at++] = code;
      codes[at++] = static_cast<std::uint8_t>(code | 8U);
    }
  }
  return codes;
}
constexpr std::array<std::uint8_t, 256> kFp4Codes = make_fp4_codes();

// Normally distributed codes, one for each of 4,096 ranges of normal_sum.
constexpr double kFp8Deviation = 64;
constexpr float kInt8Deviation = 32;
struct NormalCodes {
  std::array<std::uint8_t, 4096> e4m3;
  std::array<std::uint8_t, 4096> int8;
};
const NormalCodes& normal_codes() {
  static const NormalCodes kCodes = [] {
    NormalCodes made{};
    for (int range = 0; range < 4096; ++range) {
      const double normal = (range * 64 + 31.5 - kSumMean) / kSumDeviation;
      const auto idx = static_cast<std::size_t>(range);
      made.e4m3[idx] = numeric::float_to_e4m3(static_cast<float>(normal * kFp8Deviation));
      made.int8[idx] = static_cast<std::uint8_t>(
          static_cast<std::int8_t>(std::lround(normal * static_cast<double>(kInt8Deviation))));
    }
    return made;
  }();
  return kCodes;
}

void fill_fp4_codes(Random& random, std::byte* out, Index num_bytes) {
  for (Index at = 0; at < num_bytes; at += 4) {
    std::uint64_t bits = random.next();
    for (Index i = at; i < std::min(at + 4, num_bytes); ++i) {
      out[i] =
          static_cast<std::byte>(kFp4Codes[bits & 0xffU] | (kFp4Codes[(bits >> 8) & 0xffU] << 4));
      bits >>= 16;
    }
  }
}

void fill_codes(Random& random,
                const std::array<std::uint8_t, 4096>& codes,
                std::byte* out,
                Index count) {
  for (Index i = 0; i < count; ++i) {
    out[i] = static_cast<std::byte>(codes[to_size(normal_sum(random.next()) >> 6)]);
  }
}

// Scales of groups: powers of two around `spread / code_deviation`, mixed so that the mean square
// is right. They always vary: scales that are all alike would hide a reader that confuses them.
class RandomScale {
 public:
  RandomScale(const Distribution& distribution, double code_deviation) {
    const double exponent = std::log2(static_cast<double>(distribution.spread) / code_deviation);
    lower_ = static_cast<int>(std::floor(exponent));
    // 32/256 of the groups one lower; of the rest so many at `lower` and at `lower + 1` that
    // 1/8 * 4^-1 + 7/8 * (p + 4 (1 - p)) = 4^(exponent - lower).
    const double square = std::exp2(2 * (exponent - lower_));
    const double share = (4 - (square - 1.0 / 32) / (7.0 / 8)) / 3;
    threshold_ = 32 + static_cast<int>(std::lround(224 * std::clamp(share, 0.0, 1.0)));
  }

  std::uint8_t draw_e8m0(Random& random) const {
    const int byte = static_cast<int>(random.next() & 0xffU);
    return static_cast<std::uint8_t>(127 + lower_ + (byte < 32 ? -1 : byte < threshold_ ? 0 : 1));
  }

 private:
  int lower_;
  int threshold_;
};

void store_scale(ScaleFormat format, std::uint8_t e8m0, Index idx, std::byte* scales) {
  if (format == ScaleFormat::F32) {
    const float scale = numeric::e8m0_to_float(e8m0);
    std::memcpy(scales + idx * 4, &scale, 4);
  } else {
    scales[idx] = static_cast<std::byte>(e8m0);
  }
}

// Blocks of 17 bytes: E8M0, 32 codes.
void fill_mxfp4(Random& random, const RandomScale& scale, std::byte* out, Index num_blocks) {
  for (Index block = 0; block < num_blocks; ++block) {
    out[0] = static_cast<std::byte>(scale.draw_e8m0(random));
    fill_fp4_codes(random, out + 1, 16);
    out += 17;
  }
}

// Blocks of 34 bytes: F16 scale, 32 integers.
void fill_q8_0(Random& random, float spread, std::byte* out, Index num_blocks) {
  const Distribution scale{Distribution::Kind::Uniform, spread / kInt8Deviation,
                           spread / kInt8Deviation / 2};
  for (Index block = 0; block < num_blocks; ++block) {
    const std::uint16_t bits = numeric::float_to_f16(draw(random, scale));
    std::memcpy(out, &bits, 2);
    fill_codes(random, normal_codes().int8, out + 2, 32);
    out += 34;
  }
}

template <typename Number, typename Encode>
void fill_plain(Random& random,
                const Distribution& distribution,
                std::byte* out,
                Index count,
                const Encode& encode) {
  for (Index i = 0; i < count; ++i) {
    const Number number = encode(draw(random, distribution));
    std::memcpy(out + i * to_index(sizeof(Number)), &number, sizeof(Number));
  }
}

}  // namespace

Distribution distribution_of(const config::WeightSpec& spec) {
  using Kind = Distribution::Kind;
  switch (spec.key.role) {
    case WeightRole::Embedding:
    case WeightRole::Sink:
      return {Kind::Normal, 0.0F, 1.0F};
    case WeightRole::HeadMixBase:
    case WeightRole::AttentionMixBase:
    case WeightRole::ExpertMixBase:
    case WeightRole::CompressorPositionBias:
    case WeightRole::IndexerPositionBias:
      return {Kind::Normal, 0.0F, 0.3F};
    case WeightRole::HeadMixScale:
    case WeightRole::AttentionMixScale:
    case WeightRole::ExpertMixScale:
      return {Kind::Uniform, 0.75F, 0.5F};
    case WeightRole::RouterBias:
      return {Kind::Normal, 0.0F, 0.1F};
    default:
      break;
  }
  if (spec.shape.size() == 1) {
    return {Kind::Normal, 1.0F, 0.1F};  // norms
  }
  return {Kind::Normal, 0.0F, 1.0F / std::sqrt(static_cast<float>(spec.shape.back()))};
}

Distribution initial_distribution_of(const config::WeightSpec& spec) {
  using Kind = Distribution::Kind;
  constexpr float kDeviation = 0.02F;
  switch (spec.key.role) {
    case WeightRole::Sink:
    case WeightRole::HeadMixBase:
    case WeightRole::AttentionMixBase:
    case WeightRole::ExpertMixBase:
    case WeightRole::CompressorPositionBias:
    case WeightRole::IndexerPositionBias:
    case WeightRole::RouterBias:
      return {Kind::Uniform, 0.0F, 0.0F};
    default:
      return spec.shape.size() == 1 ? Distribution{Kind::Uniform, 1.0F, 0.0F}
                                    : Distribution{Kind::Normal, 0.0F, kDeviation};
  }
}

std::uint64_t block_key(std::uint64_t seed, std::string_view tensor, Index block_idx) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char letter : tensor) {
    hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x100000001b3U;
  }
  hash = Random::mix(hash ^ Random::mix(seed));
  return Random::mix(hash + static_cast<std::uint64_t>(block_idx));
}

bool can_fill(WeightFormat format) {
  switch (format) {
    case WeightFormat::F32:
    case WeightFormat::F16:
    case WeightFormat::BF16:
    case WeightFormat::Fp8:
    case WeightFormat::Fp4:
    case WeightFormat::Mxfp4:
    case WeightFormat::Q8_0:
      return true;
    default:
      return false;
  }
}

void fill_weights(const numeric::EncodedRows& block,
                  const Distribution& distribution,
                  std::uint64_t key) {
  Random random(key);
  const Index count = block.rows * block.columns;
  switch (block.format) {
    case WeightFormat::F32:
      fill_plain<float>(random, distribution, block.data, count, [](float x) { return x; });
      return;
    case WeightFormat::F16:
      fill_plain<std::uint16_t>(random, distribution, block.data, count, numeric::float_to_f16);
      return;
    case WeightFormat::BF16:
      fill_plain<std::uint16_t>(random, distribution, block.data, count, numeric::float_to_bf16);
      return;
    case WeightFormat::Fp8: {
      const RandomScale scale(distribution, kFp8Deviation);
      const Index num_scales = ceil_div(block.rows, numeric::kFp8TileRows) *
                               ceil_div(block.columns, numeric::kFp8TileColumns);
      for (Index i = 0; i < num_scales; ++i) {
        store_scale(block.scale_format, scale.draw_e8m0(random), i, block.scales);
      }
      fill_codes(random, normal_codes().e4m3, block.data, count);
      return;
    }
    case WeightFormat::Fp4: {
      const RandomScale scale(distribution, kFp4Deviation);
      for (Index i = 0; i < count / numeric::kFp4ScaleColumns; ++i) {
        store_scale(block.scale_format, scale.draw_e8m0(random), i, block.scales);
      }
      fill_fp4_codes(random, block.data, count / 2);
      return;
    }
    case WeightFormat::Mxfp4:
      fill_mxfp4(random, RandomScale(distribution, kFp4Deviation), block.data, count / 32);
      return;
    case WeightFormat::Q8_0:
      fill_q8_0(random, distribution.spread, block.data, count / 32);
      return;
    default:
      fail(ErrorCode::Internal, "bug in Fathom: no random weights in ", to_string(block.format));
  }
}

void fill_ids(
    Index rows, Index columns, Index limit, Index id_bytes, std::uint64_t key, std::byte* out) {
  FATHOM_CHECK(columns <= limit && (id_bytes == 4 || id_bytes == 8));
  Random random(key);
  std::vector<std::int64_t> row(to_size(columns));
  for (Index row_idx = 0; row_idx < rows; ++row_idx) {
    for (std::size_t i = 0; i < row.size();) {
      row[i] = static_cast<std::int64_t>(random.next() % static_cast<std::uint64_t>(limit));
      const auto end = row.begin() + static_cast<std::ptrdiff_t>(i);
      i += std::find(row.begin(), end, row[i]) == end ? 1U : 0U;
    }
    for (const std::int64_t id : row) {
      if (id_bytes == 8) {
        std::memcpy(out, &id, 8);
      } else {
        const auto narrow = static_cast<std::int32_t>(id);
        std::memcpy(out, &narrow, 4);
      }
      out += id_bytes;
    }
  }
}

}  // namespace fathom::weights
