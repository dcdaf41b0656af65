#include "fathom/base/formats/token_list.h"

#include <charconv>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin == text.npos ? std::string_view()
                            : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

}  // namespace

std::vector<std::int64_t> parse_token_list(std::string_view text, const std::string& source) {
  std::vector<std::int64_t> ids;
  for (bool is_last = false; !is_last;) {
    const std::size_t comma = text.find(',');
    is_last = comma == text.npos;
    const std::string_view item = trim(text.substr(0, comma));
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), id);
    if (error != std::errc() || end != item.data() + item.size()) {
      fail(ErrorCode::InvalidArgument, source, ": position ", ids.size(), ": found ", quote(item),
           ", expected a token id (or the name of a .npy file as the whole)");
    }
    ids.push_back(id);
    text.remove_prefix(is_last ? text.size() : comma + 1);
  }
  return ids;
}

}  // namespace fathom::formats
