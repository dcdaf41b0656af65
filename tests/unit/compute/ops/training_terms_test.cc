// Losses and gradients as PyTorch has them (tools/make_goldens/training_losses.py). The live oracle
// names another file in FATHOM_TRAINING_LOSSES.
#include <cstdlib>

#include "fathom/compute/ops/balance_loss.h"
#include "fathom/compute/ops/distillation.h"
#include "fathom/compute/ops/indexer_loss.h"

#include "tests/support/compare.h"
#include "tests/support/gradient_check.h"
#include "tests/support/tensor_file.h"
#include "tests/unit/compute/ops/terms_testing.h"

namespace fathom::ops {
namespace {

constexpr double kLimit = 1e-11;

class LossFormulas : public TermsTest {
 protected:
  static std::string path() {
    const char* other = std::getenv("FATHOM_TRAINING_LOSSES");  // NOLINT(concurrency-mt-unsafe)
    return other != nullptr ? other : FATHOM_SOURCE_DIR "/tests/data/training_losses.safetensors";
  }
  std::vector<double> read(const std::string& name) { return file_.read<double>(name); }

  // An operand with the file's numbers.
  std::size_t add_from(const std::string& name, const tensor::Shape& shape) {
    const std::size_t idx = add(shape);
    numbers(idx) = read(name);
    EXPECT_EQ(to_index(numbers(idx).size()), shape.num_elements()) << name;
    return idx;
  }
  static numeric::WeightView view_of(const std::vector<float>& numbers, Index rows) {
    numeric::WeightView view;
    view.rows = rows;
    view.columns = to_index(numbers.size()) / rows;
    view.data = reinterpret_cast<const std::byte*>(numbers.data());
    view.row_stride_bytes = view.columns * to_index(sizeof(float));
    return view;
  }

  testing::TensorFile file_{path()};
  TrainingTerms terms_{
      .pieces = {{0, 5, 2}, {5, 8, 0.5}}, .layers = {}, .d_balance_loss = 1, .d_indexer_loss = 1};
};

TEST_F(LossFormulas, BalanceIsThatOfTorch) {
  add_from("balance.logits", {13, 6});
  const std::vector<float> bias(6);
  const auto gradients =
      backward(terms_, [&](Context& context, const std::vector<tensor::Tensor>& operands) {
        const Routes routes = route_top_k(context, operands[0], bias, 2, 1);
        balance_experts(context, operands[0], routes, 0, true);
        return routes.weights;
      });
  EXPECT_NEAR(terms_.layers[0].balance_loss, read("balance.loss")[0], kLimit);
  EXPECT_TRUE(testing::all_within(gradients[0], read("balance.d_logits"), kLimit));
}

TEST_F(LossFormulas, IndexerIsThatOfTorch) {
  add_from("indexer.query", {13, 12});
  add_from("indexer.window", {13, 4});
  add_from("indexer.blocks", {6, 4});
  add_from("indexer.index_query", {13, 10});
  add_from("indexer.weight", {13, 2});
  add_from("indexer.keys", {6, 5});
  const std::vector<float> sink = file_.read<float>("indexer.sink");
  std::vector<VisibleRows> visible;
  for (const TrainingTerms::Piece& piece : terms_.pieces) {
    for (Index position = 0; position < piece.num_rows; ++position) {
      visible.push_back({.first_window_row = piece.first_row + std::max<Index>(0, position - 1),
                         .num_window_rows = std::min<Index>(2, position + 1),
                         .num_compressed_rows = std::min<Index>(6, position)});
    }
  }
  const std::vector<Index> first_keys(13);
  const auto gradients = backward(terms_, [&](Context& context,
                                              const std::vector<tensor::Tensor>& operands) {
    // Pages lie in step memory and outlive these.
    const SinkAttention attention{.query = operands[0],
                                  .window = testing::RowsOf(context.arena, operands[1]).view(),
                                  .compressed = testing::RowsOf(context.arena, operands[2]).view(),
                                  .selected = {},
                                  .visible = visible,
                                  .sink = sink,
                                  .scale = 0.6,
                                  .out = context.allocate({13, 12})};
    sink_attention(context, attention);
    teach_indexer(
        context, attention,
        {operands[3], operands[4], testing::RowsOf(context.arena, operands[5]).view(), first_keys},
        0);
    return attention.out;
  });
  EXPECT_NEAR(terms_.layers[0].indexer_loss, read("indexer.loss")[0], kLimit);
  EXPECT_TRUE(testing::all_within(gradients[3], read("indexer.d_index_query"), kLimit));
  EXPECT_TRUE(testing::all_within(gradients[4], read("indexer.d_weight"), kLimit));
  EXPECT_TRUE(testing::all_within(gradients[5], read("indexer.d_keys"), kLimit));
}

TEST_F(LossFormulas, DistillationIsThatOfTorch) {
  const std::vector<float> head = file_.read<float>("distillation.head");
  const std::vector<float> teacher_head = file_.read<float>("distillation.teacher_head");
  const tensor::Arena::Scope scope(context().arena);
  const tensor::Tensor x = context().allocate({4, 3});
  const std::vector<double> numbers = read("distillation.x");
  std::copy(numbers.begin(), numbers.end(), x.data<double>());
  const TopTokens teacher = allocate_top_tokens(context(), 4, 3, 1.5);
  head_top_log_probs(context(), view_of(teacher_head, 9), x, teacher);
  autograd::ParameterGradients parameters(tensor::DType::F64);
  parameters.add(head.data(), 9, 3);
  autograd::Tape tape(context(), parameters);
  const tensor::Tensor losses = head_distillation(context(), view_of(head, 9), x, teacher);
  std::fill_n(tape.of(losses).data<double>(), 4, 1.0);
  tape.run_backward();
  const auto values = [](const tensor::Tensor& from) {
    return std::vector<double>(from.data<double>(), from.data<double>() + from.num_elements());
  };
  EXPECT_TRUE(testing::all_within(values(losses), read("distillation.losses"), kLimit));
  EXPECT_TRUE(testing::all_within(values(tape.of(x)), read("distillation.d_x"), kLimit));
  EXPECT_TRUE(
      testing::all_within(values(parameters.at(head.data())), read("distillation.d_head"), kLimit));
}

}  // namespace
}  // namespace fathom::ops
