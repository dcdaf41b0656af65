#include "fathom/model/text/utf8_cleaner.h"

#include "fathom/model/text/utf8.h"

namespace fathom::text {

void Utf8Cleaner::push(std::string_view bytes, std::string& text) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_.append(bytes);
    bytes = joined;
  }
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (step.kind == Utf8Step::Kind::CutShort) {
      break;
    }
    text += step.kind == Utf8Step::Kind::Character ? bytes.substr(0, step.num_bytes) : kReplacement;
    bytes.remove_prefix(step.num_bytes);
  }
  held_ = bytes;
}

void Utf8Cleaner::finish(std::string& text) {
  if (!held_.empty()) {
    text += kReplacement;
  }
  clear();
}

}  // namespace fathom::text
