// GGUF's tensor types as formats of weights, one to one.
#pragma once

#include <optional>

#include "fathom/base/formats/gguf.h"
#include "fathom/compute/numeric/weight_format.h"

namespace fathom::weights {

// Nothing for integers and whatever else is no format of weights.
std::optional<numeric::WeightFormat> find_weight_format(formats::GgufType type);
// Nothing for the official formats whose scales are a tensor of their own.
std::optional<formats::GgufType> find_gguf_type(numeric::WeightFormat format);

}  // namespace fathom::weights
