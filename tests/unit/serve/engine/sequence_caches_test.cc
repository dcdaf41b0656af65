#include "fathom/serve/engine/sequence_caches.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

kv::SequenceCache cache_of(Index num_tokens) {
  kv::SequenceCache cache({{.layer_idx = 0,
                            .kind = config::StreamKind::Window,
                            .width = 1,
                            .tokens_per_row = 1,
                            .lookback_tokens = 3,
                            .block_tokens = 0,
                            .overlap_tokens = 0}},
                          tensor::DType::F32, {.raw_tokens = 20, .checkpoint_interval = 32});
  float number = 1;
  for (Index idx = 0; idx < num_tokens; ++idx) {
    cache.append(0, {&number, tensor::DType::F32, {1, 1}});
    cache.commit(1);
  }
  return cache;
}

TEST(SequenceCaches, WithoutADraftGoesBackAsTheModelCan) {
  SequenceCaches caches = {.model = cache_of(100)};
  EXPECT_EQ(caches.resume_point(100), 100);
  EXPECT_EQ(caches.resume_point(90), 90);
  EXPECT_EQ(caches.resume_point(50), 32);
  EXPECT_EQ(caches.truncate(50), 32);
  EXPECT_EQ(caches.num_tokens(), 32);
}

TEST(SequenceCaches, WithADraftBothGoBackTogether) {
  SequenceCaches caches = {.model = cache_of(100), .draft = cache_of(99)};
  EXPECT_EQ(caches.resume_point(100), 99);
  EXPECT_EQ(caches.resume_point(90), 90);
  EXPECT_EQ(caches.resume_point(0), 0);
  EXPECT_EQ(caches.truncate(90), 90);
  EXPECT_EQ(caches.model.num_tokens(), 90);
  EXPECT_EQ(caches.draft->num_tokens(), 90);
}

TEST(SequenceCaches, ADraftThatIsBehindDecidesWhereBothGoOn) {
  SequenceCaches caches = {.model = cache_of(100), .draft = cache_of(40)};
  // The model does not remember 40 any more, but 32.
  EXPECT_EQ(caches.truncate(100), 32);
  EXPECT_EQ(caches.model.num_tokens(), 32);
  EXPECT_EQ(caches.draft->num_tokens(), 32);
}

}  // namespace
}  // namespace fathom::engine
