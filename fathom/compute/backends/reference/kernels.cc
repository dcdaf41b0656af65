#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
ops::KernelTable<Real> kernels() {
  constexpr std::string_view kProvider = "reference";
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
  table.sink_attention = {&sink_attention<Real>, kProvider};
  table.grouped_attention = {&grouped_attention<Real>, kProvider};
  table.route = {&route<Real>, kProvider};
  table.combine_experts = {&combine_experts<Real>, kProvider};
  table.swiglu = {&swiglu<Real>, kProvider};
  table.hyper_control = {&hyper_control<Real>, kProvider};
  table.hyper_collapse = {&hyper_collapse<Real>, kProvider};
  table.hyper_merge = {&hyper_merge<Real>, kProvider};
  table.add_to_streams = {&add_to_streams<Real>, kProvider};
  return table;
}

template ops::KernelTable<float> kernels();
template ops::KernelTable<double> kernels();

}  // namespace fathom::reference
