#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

namespace {

constexpr std::string_view kProvider = "reference";

template <typename Real>
ops::TrainingKernels<Real> training_kernels() {
  ops::TrainingKernels<Real> table;
  table.cross_entropy = {&cross_entropy<Real>, kProvider};
  table.embed_backward = {&embed_backward<Real>, kProvider};
  table.rms_norm_backward = {&rms_norm_backward<Real>, kProvider};
  table.head_norm_backward = {&head_norm_backward<Real>, kProvider};
  table.linear_backward = {&linear_backward<Real>, kProvider};
  table.expert_linear_backward = {&expert_linear_backward<Real>, kProvider};
  table.position_bias_backward = {&position_bias_backward<Real>, kProvider};
  table.compress_pool_backward = {&compress_pool_backward<Real>, kProvider};
  table.sink_attention_backward = {&sink_attention_backward<Real>, kProvider};
  table.grouped_attention_backward = {&grouped_attention_backward<Real>, kProvider};
  table.route_backward = {&route_backward<Real>, kProvider};
  table.combine_experts_backward = {&combine_experts_backward<Real>, kProvider};
  table.swiglu_backward = {&swiglu_backward<Real>, kProvider};
  table.hyper_control_backward = {&hyper_control_backward<Real>, kProvider};
  table.hyper_collapse_backward = {&hyper_collapse_backward<Real>, kProvider};
  table.hyper_merge_backward = {&hyper_merge_backward<Real>, kProvider};
  table.add_to_streams_backward = {&add_to_streams_backward<Real>, kProvider};
  table.cross_entropy_backward = {&cross_entropy_backward<Real>, kProvider};
  table.balance_loss = {&balance_loss<Real>, kProvider};
  table.indexer_loss = {&indexer_loss<Real>, kProvider};
  table.top_log_probs = {&top_log_probs<Real>, kProvider};
  table.distillation = {&distillation<Real>, kProvider};
  table.distillation_backward = {&distillation_backward<Real>, kProvider};
  return table;
}

}  // namespace

template <typename Real>
ops::KernelTable<Real> kernels() {
  ops::KernelTable<Real> table;
  table.embed = {&embed<Real>, kProvider};
  table.rms_norm = {&rms_norm<Real>, kProvider};
  table.head_norm = {&head_norm<Real>, kProvider};
  table.linear = {&linear<Real>, kProvider};
  table.expert_linear = {&expert_linear<Real>, kProvider};
  table.round_to_int8 = {&round_to_int8<Real>, kProvider};
  table.int8_linear = {&int8_linear<Real>, kProvider};
  table.expert_int8_linear = {&expert_int8_linear<Real>, kProvider};
  table.rope_table = {&rope_table<Real>, kProvider};
  table.rope = {&rope<Real>, kProvider};
  table.round_trip = {&round_trip<Real>, kProvider};
  table.hadamard = {&hadamard<Real>, kProvider};
  table.position_bias = {&position_bias<Real>, kProvider};
  table.compress_pool = {&compress_pool<Real>, kProvider};
  table.scale = {&scale<Real>, kProvider};
  table.index_select = {&index_select<Real>, kProvider};
  table.int16_index_select = {&int16_index_select<Real>, kProvider};
  table.sink_attention = {&sink_attention<Real>, kProvider};
  table.grouped_attention = {&grouped_attention<Real>, kProvider};
  table.route = {&route<Real>, kProvider};
  table.combine_experts = {&combine_experts<Real>, kProvider};
  table.swiglu = {&swiglu<Real>, kProvider};
  table.hyper_control = {&hyper_control<Real>, kProvider};
  table.hyper_collapse = {&hyper_collapse<Real>, kProvider};
  table.hyper_merge = {&hyper_merge<Real>, kProvider};
  table.add_to_streams = {&add_to_streams<Real>, kProvider};
  table.training = training_kernels<Real>();
  return table;
}

template ops::KernelTable<float> kernels();
template ops::KernelTable<double> kernels();

}  // namespace fathom::reference
