#include "fathom/base/formats/number_text.h"

namespace fathom::formats {

std::string grouped(Index number) {
  std::string text = std::to_string(number);
  const Index first_digit = number < 0 ? 1 : 0;
  for (Index at = to_index(text.size()) - 3; at > first_digit; at -= 3) {
    text.insert(to_size(at), 1, ',');
  }
  return text;
}

}  // namespace fathom::formats
