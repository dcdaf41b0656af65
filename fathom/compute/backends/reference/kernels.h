// The reference backend: scalar, single-threaded, obvious. It is the specification that every other
// kernel is tested against, in float and in double.
#pragma once

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::reference {

// Every entry filled. Real is float or double.
template <typename Real>
ops::KernelTable<Real> kernels();

// The kernels, one file per op. Formulas stand in the ops' headers.
template <typename Real>
void embed(const ops::EmbedArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void rms_norm(const ops::RmsNormArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void head_norm(const ops::HeadNormArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void linear(const ops::LinearArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void expert_linear(const ops::ExpertLinearArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void round_to_int8(const ops::RoundToInt8Args<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void int8_linear(const ops::Int8LinearArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void expert_int8_linear(const ops::ExpertInt8LinearArgs<Real>& args,
                        platform::ThreadPool& pool) noexcept;
template <typename Real>
void rope_table(const ops::RopeTableArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void rope(const ops::RopeArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void round_trip(const ops::RoundTripArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void hadamard(const ops::HadamardArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void position_bias(const ops::PositionBiasArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void compress_pool(const ops::CompressPoolArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void scale(const ops::ScaleArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void index_select(const ops::IndexSelectArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void int16_index_select(const ops::Int16IndexSelectArgs<Real>& args,
                        platform::ThreadPool& pool) noexcept;
template <typename Real>
void sink_attention(const ops::SinkAttentionArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void grouped_attention(const ops::GroupedAttentionsArgs<Real>& args,
                       platform::ThreadPool& pool) noexcept;
template <typename Real>
void route(const ops::RouteArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void combine_experts(const ops::CombineExpertsArgs<Real>& args,
                     platform::ThreadPool& pool) noexcept;
template <typename Real>
void swiglu(const ops::SwigluArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_control(const ops::HyperControlArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_collapse(const ops::HyperCollapseArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_merge(const ops::HyperMergeArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void add_to_streams(const ops::AddToStreamsArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void cross_entropy(const ops::CrossEntropyArgs<Real>& args, platform::ThreadPool& pool) noexcept;

template <typename Real>
void embed_backward(const ops::EmbedBackwardArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void rms_norm_backward(const ops::RmsNormBackwardArgs<Real>& args,
                       platform::ThreadPool& pool) noexcept;
template <typename Real>
void head_norm_backward(const ops::HeadNormBackwardArgs<Real>& args,
                        platform::ThreadPool& pool) noexcept;
template <typename Real>
void linear_backward(const ops::LinearBackwardArgs<Real>& args,
                     platform::ThreadPool& pool) noexcept;
template <typename Real>
void expert_linear_backward(const ops::ExpertLinearBackwardArgs<Real>& args,
                            platform::ThreadPool& pool) noexcept;
template <typename Real>
void position_bias_backward(const ops::PositionBiasBackwardArgs<Real>& args,
                            platform::ThreadPool& pool) noexcept;
template <typename Real>
void compress_pool_backward(const ops::CompressPoolBackwardArgs<Real>& args,
                            platform::ThreadPool& pool) noexcept;
template <typename Real>
void sink_attention_backward(const ops::SinkAttentionBackwardArgs<Real>& args,
                             platform::ThreadPool& pool) noexcept;
template <typename Real>
void grouped_attention_backward(const ops::GroupedAttentionBackwardArgs<Real>& args,
                                platform::ThreadPool& pool) noexcept;
template <typename Real>
void route_backward(const ops::RouteBackwardArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void combine_experts_backward(const ops::CombineExpertsBackwardArgs<Real>& args,
                              platform::ThreadPool& pool) noexcept;
template <typename Real>
void swiglu_backward(const ops::SwigluBackwardArgs<Real>& args,
                     platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_control_backward(const ops::HyperControlBackwardArgs<Real>& args,
                            platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_collapse_backward(const ops::HyperCollapseBackwardArgs<Real>& args,
                             platform::ThreadPool& pool) noexcept;
template <typename Real>
void hyper_merge_backward(const ops::HyperMergeBackwardArgs<Real>& args,
                          platform::ThreadPool& pool) noexcept;
template <typename Real>
void add_to_streams_backward(const ops::AddToStreamsBackwardArgs<Real>& args,
                             platform::ThreadPool& pool) noexcept;
template <typename Real>
void cross_entropy_backward(const ops::CrossEntropyBackwardArgs<Real>& args,
                            platform::ThreadPool& pool) noexcept;
template <typename Real>
void balance_loss(const ops::BalanceLossArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void indexer_loss(const ops::IndexerLossArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void top_log_probs(const ops::TopLogProbsArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void distillation(const ops::DistillationArgs<Real>& args, platform::ThreadPool& pool) noexcept;
template <typename Real>
void distillation_backward(const ops::DistillationBackwardArgs<Real>& args,
                           platform::ThreadPool& pool) noexcept;

}  // namespace fathom::reference
