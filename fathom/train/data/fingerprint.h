// What tells tokenizers apart: a model may only be trained on shards of its own.
#pragma once

#include "fathom/model/text/tokenizer.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {

// Of every id the bytes it stands for and whether it is a control token. Two files of one
// tokenizer, tokenizer.json or GGUF, have the same one when they list the same ids.
Hash128 fingerprint_of(const text::Tokenizer& tokenizer);

}  // namespace fathom::data
