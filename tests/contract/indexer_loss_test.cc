// The contract of ops/indexer_loss.h.
#include "fathom/compute/ops/indexer_loss.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct LossProblem {
  static constexpr Index kTokens = 37;
  static constexpr Index kHeads = 5;
  static constexpr Index kWidth = 40;
  static constexpr Index kBlocks = 21;
  static constexpr Index kIndexHeads = 3;
  static constexpr Index kIndexWidth = 24;

  std::vector<float> query;
  std::vector<float> window;
  std::vector<float> compressed;
  std::vector<float> index_query;
  std::vector<float> weight;
  std::vector<float> keys;
  std::vector<float> sink;
  std::vector<float> d_losses;
  std::vector<ops::VisibleRows> visible;
  std::vector<std::int32_t> selected;  // 6 a token, or none
  std::vector<Index> first_keys = std::vector<Index>(to_size(kTokens));

  LossProblem(Random& random, bool selects) {
    query = random.normals(kTokens * kHeads * kWidth);
    window = random.normals(kTokens * kWidth);
    compressed = random.normals(kBlocks * kWidth);
    index_query = random.normals(kTokens * kIndexHeads * kIndexWidth);
    weight = random.normals(kTokens * kIndexHeads, Rounding::None, 0.2);
    keys = random.normals(kBlocks * kIndexWidth);
    sink = random.normals(kHeads);
    d_losses = random.normals(kTokens);
    for (Index token = 0; token < kTokens; ++token) {
      const Index num_blocks = std::min(kBlocks, token / 2);
      const Index first = std::max<Index>(0, token - 7);
      visible.push_back(
          {first, token + 1 - first, selects ? std::min<Index>(6, num_blocks) : num_blocks, 0});
      for (Index idx = 0; selects && idx < 6; ++idx) {
        selected.push_back(static_cast<std::int32_t>(num_blocks < 12 ? idx : 2 * idx));
      }
    }
  }

  // Losses, and the gradients of query, weight and keys, that stood at 1 before.
  template <typename Real>
  std::vector<std::vector<Real>> run(const ops::KernelTable<Real>& kernels,
                                     platform::ThreadPool& pool,
                                     bool has_gradients = true) const {
    constexpr Index kPage = tensor::RowTable<Real>::kRowsPerPage;
    using Args = ops::IndexerLossArgs<Real>;
    const Pages<Real> window_pages(kTokens, kWidth, window);
    const Pages<Real> compressed_pages(kBlocks, kWidth, compressed);
    const Pages<Real> key_pages(kBlocks, kIndexWidth, keys);
    Grid<Real> queries(kTokens, kHeads * kWidth, 3, query);
    Grid<Real> index_queries(kTokens, kIndexHeads * kIndexWidth, 0, index_query);
    Grid<Real> weights(kTokens, kIndexHeads, 0, weight);
    Grid<Real> scratch(pool.num_threads(), Args::scratch_columns(8 + kBlocks), 0);
    Grid<Real> d_scores(kTokens, kBlocks, 0);
    std::vector<Real> losses(to_size(kTokens));
    std::vector<Real> d_query(index_query.size(), Real{1});
    std::vector<Real> d_weight(weight.size(), Real{1});
    std::vector<Real> d_keys(to_size(2 * kPage * kIndexWidth), Real{1});
    Real* const pages[] = {d_keys.data(), d_keys.data() + kPage * kIndexWidth};
    const std::vector<Real> factors(d_losses.begin(), d_losses.end());
    Args args{.attention = {.query = queries.view(),
                            .window = window_pages.table(),
                            .compressed = compressed_pages.table(),
                            .selected = {},
                            .visible = visible,
                            .sink = sink,
                            .scale = 0.15,
                            .rounding = Rounding::None,
                            .scratch = {},
                            .out = {}},
              .query = index_queries.view(),
              .weight = weights.view(),
              .keys = key_pages.table(),
              .first_keys = first_keys,
              .losses = losses.data(),
              .d_losses = nullptr,
              .d_query = {},
              .d_weight = {},
              .d_keys = {},
              .scratch = scratch.view(),
              .d_scores = {}};
    if (!selected.empty()) {
      args.attention.selected = {selected.data(), kTokens, 6, 6};
    }
    if (has_gradients) {
      args.d_losses = factors.data();
      args.d_query = {d_query.data(), kTokens, kIndexHeads * kIndexWidth,
                      kIndexHeads * kIndexWidth};
      args.d_weight = {d_weight.data(), kTokens, kIndexHeads, kIndexHeads};
      args.d_keys = {pages, kBlocks, kIndexWidth};
      args.d_scores = d_scores.view();
    }
    kernels.training.indexer_loss.run(args, pool);
    return {losses, d_query, d_weight, d_keys};
  }
};

TEST(IndexerLoss, OfEveryInstructionSetIsTheReferencesInDouble) {
  Random random(131);
  std::vector<std::string> backends = {"reference"};
  for (const std::string& isa : runtime::available_isas()) {
    backends.push_back("cpu:" + isa);
  }
  for (const bool selects : {false, true}) {
    const LossProblem problem(random, selects);
    runtime::Runtime exact({.num_threads = 1, .backend = "reference:f64"});
    const auto expected = problem.run<double>(exact.context().f64, exact.pool());
    for (const std::string& backend : backends) {
      runtime::Runtime one({.num_threads = 1, .backend = backend});
      runtime::Runtime three({.num_threads = 3, .backend = backend});
      const auto found = problem.run<float>(one.context().f32, one.pool());
      EXPECT_EQ(found, problem.run<float>(three.context().f32, three.pool())) << backend;
      EXPECT_EQ(found[0], problem.run<float>(one.context().f32, one.pool(), false)[0]) << backend;
      for (std::size_t part = 0; part < expected.size(); ++part) {
        for (std::size_t i = 0; i < expected[part].size(); ++i) {
          ASSERT_TRUE(std::abs(static_cast<double>(found[part][i]) - expected[part][i]) <=
                      1e-5 * (1 + std::abs(expected[part][i])))
              << backend << ", part " << part << ", number " << i << ": " << found[part][i]
              << ", expected " << expected[part][i];
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::testing
