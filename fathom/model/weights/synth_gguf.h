// A synthetic model as GGUF: metadata, a small vocabulary, and the type of every tensor.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::weights {

// Keys that llama.cpp reads, and a vocabulary in the form of SentencePiece: three specials, the 256
// bytes, then short words. Throws InvalidArgument when the model's vocabulary is smaller than that.
std::vector<formats::GgufWriteValue> make_gguf_metadata(const config::ModelConfig& config,
                                                        const std::string& name);

// Dense matrices Q8_0, experts MXFP4, mixing, compressors, indexers and routers F16, vectors F32,
// token tables I32; a plan of BF16 makes the first two BF16.
formats::GgufType gguf_type_of(const config::WeightSpec& spec, const config::StoragePlan& plan);

}  // namespace fathom::weights
