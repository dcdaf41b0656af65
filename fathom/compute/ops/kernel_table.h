// The kernels of one context: one entry per op, best first taken from the backends at assembly.
//
// Adding an op adds a line here; a backend fills the entries it has, the reference fills all.
#pragma once

#include <string_view>

#include "fathom/compute/ops/balance_loss.h"
#include "fathom/compute/ops/compress_pool.h"
#include "fathom/compute/ops/cross_entropy.h"
#include "fathom/compute/ops/distillation.h"
#include "fathom/compute/ops/embed.h"
#include "fathom/compute/ops/grouped_attention.h"
#include "fathom/compute/ops/hadamard.h"
#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/compute/ops/index_select.h"
#include "fathom/compute/ops/indexer_loss.h"
#include "fathom/compute/ops/int8_linear.h"
#include "fathom/compute/ops/linear.h"
#include "fathom/compute/ops/rms_norm.h"
#include "fathom/compute/ops/rope.h"
#include "fathom/compute/ops/round_trip.h"
#include "fathom/compute/ops/route.h"
#include "fathom/compute/ops/scale.h"
#include "fathom/compute/ops/sink_attention.h"
#include "fathom/compute/ops/swiglu.h"

namespace fathom::ops {

// A kernel computes on views whose shapes were checked; it does not fail and does not allocate.
// (The type cannot say noexcept: Highway's dispatch tables hold plain functions.)
template <typename Args>
struct Kernel {
  using Function = void (*)(const Args&, platform::ThreadPool&);
  Function run = nullptr;
  std::string_view provider = "none";  // which backend and instruction set it came from
};

// What only training computes: the loss, and the backward halves of ops. Those add to the gradients
// of what an op read; where an op works in place, they change its gradient in place. Ops whose
// backward is another op have none here.
template <typename Real>
struct TrainingKernels {
  Kernel<CrossEntropyArgs<Real>> cross_entropy;
  Kernel<EmbedBackwardArgs<Real>> embed_backward;
  Kernel<RmsNormBackwardArgs<Real>> rms_norm_backward;
  Kernel<HeadNormBackwardArgs<Real>> head_norm_backward;
  Kernel<LinearBackwardArgs<Real>> linear_backward;
  Kernel<ExpertLinearBackwardArgs<Real>> expert_linear_backward;
  Kernel<PositionBiasBackwardArgs<Real>> position_bias_backward;
  Kernel<CompressPoolBackwardArgs<Real>> compress_pool_backward;
  Kernel<SinkAttentionBackwardArgs<Real>> sink_attention_backward;
  Kernel<GroupedAttentionBackwardArgs<Real>> grouped_attention_backward;
  Kernel<RouteBackwardArgs<Real>> route_backward;
  Kernel<CombineExpertsBackwardArgs<Real>> combine_experts_backward;
  Kernel<SwigluBackwardArgs<Real>> swiglu_backward;
  Kernel<HyperControlBackwardArgs<Real>> hyper_control_backward;
  Kernel<HyperCollapseBackwardArgs<Real>> hyper_collapse_backward;
  Kernel<HyperMergeBackwardArgs<Real>> hyper_merge_backward;
  Kernel<AddToStreamsBackwardArgs<Real>> add_to_streams_backward;
  Kernel<CrossEntropyBackwardArgs<Real>> cross_entropy_backward;
  Kernel<BalanceLossArgs<Real>> balance_loss;
  Kernel<IndexerLossArgs<Real>> indexer_loss;
  Kernel<TopLogProbsArgs<Real>> top_log_probs;
  Kernel<DistillationArgs<Real>> distillation;
  Kernel<DistillationBackwardArgs<Real>> distillation_backward;

  // Calls visit(name, kernel) for every entry, in the order above.
  template <typename Self, typename Visit>
  static void for_each(Self& table, const Visit& visit) {
    visit("cross_entropy", table.cross_entropy);
    visit("embed_backward", table.embed_backward);
    visit("rms_norm_backward", table.rms_norm_backward);
    visit("head_norm_backward", table.head_norm_backward);
    visit("linear_backward", table.linear_backward);
    visit("expert_linear_backward", table.expert_linear_backward);
    visit("position_bias_backward", table.position_bias_backward);
    visit("compress_pool_backward", table.compress_pool_backward);
    visit("sink_attention_backward", table.sink_attention_backward);
    visit("grouped_attention_backward", table.grouped_attention_backward);
    visit("route_backward", table.route_backward);
    visit("combine_experts_backward", table.combine_experts_backward);
    visit("swiglu_backward", table.swiglu_backward);
    visit("hyper_control_backward", table.hyper_control_backward);
    visit("hyper_collapse_backward", table.hyper_collapse_backward);
    visit("hyper_merge_backward", table.hyper_merge_backward);
    visit("add_to_streams_backward", table.add_to_streams_backward);
    visit("cross_entropy_backward", table.cross_entropy_backward);
    visit("balance_loss", table.balance_loss);
    visit("indexer_loss", table.indexer_loss);
    visit("top_log_probs", table.top_log_probs);
    visit("distillation", table.distillation);
    visit("distillation_backward", table.distillation_backward);
  }
};

template <typename Real>
struct KernelTable {
  Kernel<EmbedArgs<Real>> embed;
  Kernel<RmsNormArgs<Real>> rms_norm;
  Kernel<HeadNormArgs<Real>> head_norm;
  Kernel<LinearArgs<Real>> linear;
  Kernel<ExpertLinearArgs<Real>> expert_linear;
  Kernel<RoundToInt8Args<Real>> round_to_int8;
  Kernel<Int8LinearArgs<Real>> int8_linear;
  Kernel<ExpertInt8LinearArgs<Real>> expert_int8_linear;
  Kernel<RopeTableArgs<Real>> rope_table;
  Kernel<RopeArgs<Real>> rope;
  Kernel<RoundTripArgs<Real>> round_trip;
  Kernel<HadamardArgs<Real>> hadamard;
  Kernel<PositionBiasArgs<Real>> position_bias;
  Kernel<CompressPoolArgs<Real>> compress_pool;
  Kernel<ScaleArgs<Real>> scale;
  Kernel<IndexSelectArgs<Real>> index_select;
  Kernel<Int16IndexSelectArgs<Real>> int16_index_select;
  Kernel<SinkAttentionArgs<Real>> sink_attention;
  Kernel<GroupedAttentionsArgs<Real>> grouped_attention;
  Kernel<RouteArgs<Real>> route;
  Kernel<CombineExpertsArgs<Real>> combine_experts;
  Kernel<SwigluArgs<Real>> swiglu;
  Kernel<HyperControlArgs<Real>> hyper_control;
  Kernel<HyperCollapseArgs<Real>> hyper_collapse;
  Kernel<HyperMergeArgs<Real>> hyper_merge;
  Kernel<AddToStreamsArgs<Real>> add_to_streams;

  TrainingKernels<Real> training;

  // Calls visit(name, kernel) for every entry but those of training.
  template <typename Self, typename Visit>
  static void for_each(Self& table, const Visit& visit) {
    visit("embed", table.embed);
    visit("rms_norm", table.rms_norm);
    visit("head_norm", table.head_norm);
    visit("linear", table.linear);
    visit("expert_linear", table.expert_linear);
    visit("round_to_int8", table.round_to_int8);
    visit("int8_linear", table.int8_linear);
    visit("expert_int8_linear", table.expert_int8_linear);
    visit("rope_table", table.rope_table);
    visit("rope", table.rope);
    visit("round_trip", table.round_trip);
    visit("hadamard", table.hadamard);
    visit("position_bias", table.position_bias);
    visit("compress_pool", table.compress_pool);
    visit("scale", table.scale);
    visit("index_select", table.index_select);
    visit("int16_index_select", table.int16_index_select);
    visit("sink_attention", table.sink_attention);
    visit("grouped_attention", table.grouped_attention);
    visit("route", table.route);
    visit("combine_experts", table.combine_experts);
    visit("swiglu", table.swiglu);
    visit("hyper_control", table.hyper_control);
    visit("hyper_collapse", table.hyper_collapse);
    visit("hyper_merge", table.hyper_merge);
    visit("add_to_streams", table.add_to_streams);
  }
};

// Runs `body` with the kernel table and number type of the context.
template <typename Body>
void with_kernels(Context& context, const Body& body) {
  if (context.real == tensor::DType::F64) {
    body(double{}, context.f64);
  } else {
    body(float{}, context.f32);
  }
}

}  // namespace fathom::ops
