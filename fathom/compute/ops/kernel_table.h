// The kernels of one context: one entry per op, best first taken from the backends at assembly.
//
// Adding an op adds a line here; a backend fills the entries it has, the reference fills all.
#pragma once

#include <string_view>

#include "fathom/compute/ops/compress_pool.h"
#include "fathom/compute/ops/embed.h"
#include "fathom/compute/ops/grouped_attention.h"
#include "fathom/compute/ops/hadamard.h"
#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/compute/ops/index_select.h"
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
  Kernel<SinkAttentionArgs<Real>> sink_attention;
  Kernel<GroupedAttentionArgs<Real>> grouped_attention;
  Kernel<RouteArgs<Real>> route;
  Kernel<CombineExpertsArgs<Real>> combine_experts;
  Kernel<SwigluArgs<Real>> swiglu;
  Kernel<HyperControlArgs<Real>> hyper_control;
  Kernel<HyperCollapseArgs<Real>> hyper_collapse;
  Kernel<HyperMergeArgs<Real>> hyper_merge;
  Kernel<AddToStreamsArgs<Real>> add_to_streams;

  // Calls visit(name, kernel) for every entry, in the order above.
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
