#include "fathom/model/sampling/logit_scan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include <hwy/highway.h>

namespace fathom::sampling {
namespace {

namespace hn = hwy::HWY_NAMESPACE;  // of the instructions that every machine has

constexpr Index kLanes = 16;

static_assert(kLogitsPerBlock % kLanes == 0);

using Lanes = std::array<float, to_size(kLanes)>;

float sum_of_lanes(Lanes lanes) {
  for (std::size_t width = to_size(kLanes) / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) {
      lanes[lane] += lanes[lane + width];
    }
  }
  return lanes[0];
}

// One block as a full one: what is missing at the end of the vocabulary counts as -inf.
const float* padded(std::span<const float> logits,
                    Index block_idx,
                    std::array<float, to_size(kLogitsPerBlock)>& room) {
  const std::size_t begin = to_size(block_idx * kLogitsPerBlock);
  if (begin + room.size() <= logits.size()) {
    return logits.data() + begin;
  }
  room.fill(-std::numeric_limits<float>::infinity());
  std::copy(logits.begin() + static_cast<std::ptrdiff_t>(begin), logits.end(), room.begin());
  return room.data();
}

Index num_blocks(std::span<const float> logits) {
  return ceil_div(to_index(logits.size()), kLogitsPerBlock);
}

bool larger_logit(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

}  // namespace

float exp_of_negative(float x) {
  constexpr float kSmallest = -87.0F;
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;  // few bits: its product with a whole number is exact
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float clamped = x < kSmallest ? kSmallest : x;
  const float shifted = clamped * kLog2E + kRounder;
  const float whole = shifted - kRounder;
  const float rest = (clamped - whole * kLn2High) - whole * kLn2Low;
  float series = 1.9875691500e-4F;
  series = series * rest + 1.3981999507e-3F;
  series = series * rest + 8.3334519073e-3F;
  series = series * rest + 4.1665795894e-2F;
  series = series * rest + 1.6666665459e-1F;
  series = series * rest + 5.0000001201e-1F;
  series = series * (rest * rest) + rest + 1.0F;
  // The whole number sits in the low bits of `shifted`; it moves into the exponent.
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23;
  const float value = series * std::bit_cast<float>(power);
  return x < kSmallest ? 0.0F : value;
}

// With Highway's attribute: GCC inlines its functions for 64-bit Arm into nothing else.
HWY_ATTR void find_maxima(std::span<const float> logits, BlockMaxima& maxima) {
  const Index blocks = num_blocks(logits);
  maxima.of_block.resize(to_size(blocks));
  maxima.of_all = -std::numeric_limits<float>::infinity();
  std::array<float, to_size(kLogitsPerBlock)> room;
  const hn::CappedTag<float, to_size(kLanes)> d;
  const auto most = hn::Set(d, std::numeric_limits<float>::max());
  auto good = hn::Le(most, most);
  Lanes lanes;
  for (Index block_idx = 0; block_idx < blocks; ++block_idx) {
    const float* block = padded(logits, block_idx, room);
    auto largest = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (std::size_t at = 0; at < room.size(); at += hn::Lanes(d)) {
      const auto values = hn::LoadU(d, block + at);
      largest = hn::Max(values, largest);
      good = hn::And(good, hn::Le(values, most));  // NaN compares false
    }
    // Not MaxOfLanes: where Highway has no instructions to use, it begins at the lowest finite
    // number.
    hn::StoreU(largest, d, lanes.data());
    const float of_block = *std::max_element(lanes.begin(), lanes.begin() + hn::Lanes(d));
    maxima.of_block[to_size(block_idx)] = of_block;
    maxima.of_all = std::max(maxima.of_all, of_block);
  }
  maxima.has_bad = !hn::AllTrue(d, good);
}

TokenId argmax(std::span<const float> logits, const BlockMaxima& maxima) {
  const auto block = std::find(maxima.of_block.begin(), maxima.of_block.end(), maxima.of_all);
  const auto begin = logits.begin() + (block - maxima.of_block.begin()) * kLogitsPerBlock;
  return static_cast<TokenId>(std::find(begin, logits.end(), maxima.of_all) - logits.begin());
}

double sum_exp(std::span<const float> logits,
               float maximum,
               float scale,
               std::vector<double>& block_sums) {
  const Index blocks = num_blocks(logits);
  block_sums.resize(to_size(blocks));
  std::array<float, to_size(kLogitsPerBlock)> room;
  double sum = 0;
  for (Index block_idx = 0; block_idx < blocks; ++block_idx) {
    const float* block = padded(logits, block_idx, room);
    Lanes lanes{};
    for (Index base = 0; base < kLogitsPerBlock; base += kLanes) {
      for (std::size_t lane = 0; lane < to_size(kLanes); ++lane) {
        lanes[lane] += exp_of_negative((block[to_size(base) + lane] - maximum) * scale);
      }
    }
    const auto block_sum = static_cast<double>(sum_of_lanes(lanes));
    block_sums[to_size(block_idx)] = block_sum;
    sum += block_sum;
  }
  return sum;
}

void collect_at_least(std::span<const float> logits,
                      const BlockMaxima& maxima,
                      float threshold,
                      std::vector<Candidate>& found) {
  found.clear();
  for (std::size_t block_idx = 0; block_idx < maxima.of_block.size(); ++block_idx) {
    if (!(maxima.of_block[block_idx] >= threshold)) {
      continue;
    }
    const std::size_t begin = block_idx * to_size(kLogitsPerBlock);
    const std::size_t end = std::min(begin + to_size(kLogitsPerBlock), logits.size());
    for (std::size_t id = begin; id < end; ++id) {
      if (logits[id] >= threshold) {
        found.push_back({.id = static_cast<TokenId>(id), .logit = logits[id]});
      }
    }
  }
}

void collect_largest(std::span<const float> logits,
                     const BlockMaxima& maxima,
                     Index k,
                     std::vector<Candidate>& found) {
  found.clear();
  // Keeps up to 2k and cuts back to k when full: the k-th largest so far is a threshold that most
  // blocks stay under.
  const std::size_t limit = to_size(k) * 2;
  float threshold = -std::numeric_limits<float>::infinity();
  const auto cut_back = [&] {
    std::nth_element(found.begin(), found.begin() + (k - 1), found.end(), larger_logit);
    found.resize(to_size(k));
    threshold = found[to_size(k - 1)].logit;
  };
  for (std::size_t block_idx = 0; block_idx < maxima.of_block.size(); ++block_idx) {
    if (maxima.of_block[block_idx] < threshold) {
      continue;
    }
    const std::size_t begin = block_idx * to_size(kLogitsPerBlock);
    const std::size_t end = std::min(begin + to_size(kLogitsPerBlock), logits.size());
    for (std::size_t id = begin; id < end; ++id) {
      // An equal one that comes later has the higher id and cannot displace what is kept, unless
      // fewer than k are; cutting back sorts that out.
      if (!(logits[id] >= threshold)) {
        continue;
      }
      found.push_back({.id = static_cast<TokenId>(id), .logit = logits[id]});
      if (found.size() >= limit && found.size() > to_size(k)) {
        cut_back();
      }
    }
  }
  if (to_index(found.size()) > k) {
    cut_back();
  }
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

void weigh(std::vector<Candidate>& candidates, float maximum, float scale) {
  for (Candidate& candidate : candidates) {
    candidate.weight = static_cast<std::uint64_t>(
        exp_of_negative((candidate.logit - maximum) * scale) * kWeightOfMaximum);
  }
}

double total_weight(const std::vector<Candidate>& candidates) {
  std::uint64_t total = 0;
  for (const Candidate& candidate : candidates) {
    total += candidate.weight;
  }
  return static_cast<double>(total);
}

void keep_mass(std::vector<Candidate>& candidates, double mass, std::vector<Candidate>& scratch) {
  if (candidates.empty()) {
    return;
  }
  // Quickselect by mass: halves the part in which the border lies, without sorting the rest.
  scratch = candidates;
  auto begin = scratch.begin();
  auto end = scratch.end();
  std::uint64_t mass_before = 0;
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, comes_before);
    std::uint64_t mass_of_half = 0;
    for (auto candidate = begin; candidate != middle; ++candidate) {
      mass_of_half += candidate->weight;
    }
    if (static_cast<double>(mass_before + mass_of_half) >= mass) {
      end = middle;
    } else {
      mass_before += mass_of_half;
      begin = middle;
    }
  }
  const Candidate last = *begin;
  std::erase_if(candidates,
                [&](const Candidate& candidate) { return comes_before(last, candidate); });
}

}  // namespace fathom::sampling
