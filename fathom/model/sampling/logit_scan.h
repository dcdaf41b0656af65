// Passes over the logits of a whole vocabulary, in blocks whose size never changes.
//
// Sums run in 16 lanes and a fixed tree inside a block and in double across blocks, so that a
// result depends neither on the vector width of the machine nor on who computes it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/options.h"

namespace fathom::sampling {

inline constexpr Index kLogitsPerBlock = 64;
inline constexpr float kWeightOfMaximum = 0x1p44F;

struct Candidate {
  TokenId id = 0;
  float logit = 0;
  std::uint64_t weight = 0;  // proportional to its probability; whole numbers sum in any order
  double key = 0;            // what the filter at work orders by, ascending
};

// Ascending key, the lower id first among equals.
inline bool comes_before(const Candidate& a, const Candidate& b) {
  return a.key < b.key || (a.key == b.key && a.id < b.id);
}

// exp(x) for x <= 0 within 3e-7 of its value, 0 below -87: additions and multiplications only, so
// the same bits on every machine.
float exp_of_negative(float x);

// The largest logit of every block and of all. `has_bad` when one is NaN or +inf.
struct BlockMaxima {
  std::vector<float> of_block;
  float of_all = 0;
  bool has_bad = false;
};
void find_maxima(std::span<const float> logits, BlockMaxima& maxima);

// The lowest id with the largest logit.
TokenId argmax(std::span<const float> logits, const BlockMaxima& maxima);

// Sum over all tokens of exp((logit - maximum) * scale), with the sum of every block.
double sum_exp(std::span<const float> logits,
               float maximum,
               float scale,
               std::vector<double>& block_sums);

// Tokens whose logit is at least `threshold`, in order of id; weights and keys are not set.
void collect_at_least(std::span<const float> logits,
                      const BlockMaxima& maxima,
                      float threshold,
                      std::vector<Candidate>& found);

// The k largest logits, of equals those with the lower id, in order of id.
void collect_largest(std::span<const float> logits,
                     const BlockMaxima& maxima,
                     Index k,
                     std::vector<Candidate>& found);

// Weights relative to the token with logit `maximum`, which would have 2^44: 2^19 tokens can be
// summed, and what is lost below one part in 2^44 no draw of 53 bits could show.
void weigh(std::vector<Candidate>& candidates, float maximum, float scale);
double total_weight(const std::vector<Candidate>& candidates);

// Keeps the fewest candidates, in order of key, whose weights reach `mass`; at least one. What is
// kept stays in its order. `scratch` avoids an allocation.
void keep_mass(std::vector<Candidate>& candidates, double mass, std::vector<Candidate>& scratch);

}  // namespace fathom::sampling
