// Learning the merges of a byte-level BPE vocabulary from text (Sennrich et al. 2016).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/text/pre_tokenizer.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::data {

// A vocabulary as it is written to tokenizer.json: ids are places in `tokens`.
struct TrainedVocabulary {
  std::vector<std::string> special;  // the first ids
  std::vector<std::string> tokens;   // bytes of every id, special ones spelled as they are
  std::vector<std::pair<text::TokenId, text::TokenId>> merges;  // in order of their ranks
};

struct BpeOptions {
  Index vocabulary_size = 8192;
  std::vector<std::string> special = {};
  Index min_count = 2;  // a pair that is rarer is not merged
};

// Counts pieces of text first and merges then. The most frequent pair is merged each time; of equal
// ones that with the lower left id, then the lower right id. Ids are the special tokens, the 256
// bytes in the order of the characters that vocabularies write them as, and the merges: all as
// PyPI tokenizers does it.
class BpeTrainer {
 public:
  // Keeps at most `most_pieces` different pieces: what is rarest is forgotten when there are more.
  explicit BpeTrainer(Index most_pieces = 3'000'000);

  // Well-formed text; it is cut as DeepSeek-V4's is. Pieces beyond 256 bytes are no words and are
  // left out.
  void add(std::string_view text);
  Index num_pieces() const { return to_index(counts_.size()); }

  // May be called once. `progress(done, total)` counts tokens; it may throw to stop.
  TrainedVocabulary train(const BpeOptions& options,
                          const std::function<void(Index done, Index total)>& progress);

 private:
  struct TextHash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the library's name
    std::size_t operator()(std::string_view text) const;
  };
  void forget_rare();

  text::PreTokenizer pre_tokenizer_;
  Index most_pieces_;
  std::unordered_map<std::string, Index, TextHash, std::equal_to<>> counts_;
};

// The steps that cut text into pieces, as in DeepSeek-V4's tokenizer.json.
text::PreTokenizer v4_pre_tokenizer();

}  // namespace fathom::data
