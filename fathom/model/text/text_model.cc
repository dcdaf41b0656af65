#include "fathom/model/text/text_model.h"

#include <algorithm>
#include <utility>

namespace fathom::text {

TextModel make_text_model(std::shared_ptr<const Tokenizer> tokenizer,
                          std::shared_ptr<const ChatFormat> format) {
  TextModel result;
  if (tokenizer->eos_id()) {
    result.stop_ids.push_back(*tokenizer->eos_id());
  }
  if (tokenizer->adds_bos()) {
    result.raw_text_bos = tokenizer->bos_id();
  }
  if (format != nullptr) {
    for (const std::string& text : format->stop_texts()) {
      const std::optional<TokenId> id = tokenizer->control_id(text);
      if (id &&
          std::find(result.stop_ids.begin(), result.stop_ids.end(), *id) == result.stop_ids.end()) {
        result.stop_ids.push_back(*id);
      }
    }
    if (!format->raw_text_bos().empty()) {
      result.raw_text_bos = tokenizer->control_id(format->raw_text_bos());
    }
  }
  result.tokenizer = std::move(tokenizer);
  result.format = std::move(format);
  return result;
}

}  // namespace fathom::text
