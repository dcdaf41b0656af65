// The ops between a model's products, at its shapes: norms, hyper-connections, the choice of
// experts and of rows, pooling, attention.
#pragma once

#include "fathom/model/config/model_config.h"
#include "fathom/study/bench/kernel_case.h"

namespace fathom::bench {

// Ops that look back do so from the end of a context of so many tokens.
inline constexpr Index kContextTokens = 32768;

// `measure` gets every op that the model has, for steps of so many tokens. Rows are as the cache of
// the context's numerics keeps them (kv::row_dtype).
void measure_ops(ops::Context& context,
                 const config::ModelConfig& config,
                 Index tokens,
                 const MeasureKernel& measure);

}  // namespace fathom::bench
