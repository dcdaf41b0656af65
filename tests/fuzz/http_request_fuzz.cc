// Any bytes as an HTTP request with limits as a server has them: the request is the same however
// the bytes are cut, a failure has a status of the client's, and what waits is bounded.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fathom/base/formats/text.h"
#include "fathom/serve/http/request_parser.h"
#include "fathom/serve/http/target.h"

namespace {

using fathom::http::RequestParser;

constexpr fathom::http::ParserLimits kLimits = {
    .header_bytes = 2048, .num_headers = 50, .target_bytes = 512, .body_bytes = 4096};

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// Feeds pieces of 1 to `max_piece` bytes, beginning with `piece`; returns how many bytes the
// request had.
std::size_t feed(RequestParser& parser,
                 std::string_view bytes,
                 std::size_t max_piece,
                 std::size_t piece) {
  std::string waiting;
  std::size_t num_taken = 0;
  while (!bytes.empty() && !parser.failure() && !parser.is_done()) {
    const std::size_t count = std::min(piece, bytes.size());
    waiting.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    const std::size_t taken = parser.feed(waiting);
    require(taken <= waiting.size());
    waiting.erase(0, taken);
    num_taken += taken;
    require(parser.failure() || parser.is_done() ||
            waiting.size() <= static_cast<std::size_t>(kLimits.header_bytes) + max_piece);
    piece = piece % max_piece + 1;
  }
  return num_taken;
}

void check_target(std::string_view raw) {
  if (const auto target = fathom::http::parse_target(raw)) {
    require(target->path.starts_with('/') && fathom::formats::is_utf8(target->path));
    require(target->path.find("/../") == std::string::npos && !target->path.ends_with("/.."));
    require(target->path.find('\0') == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_target(bytes);
  RequestParser whole(kLimits);
  RequestParser pieces(kLimits);
  const std::size_t num_whole = feed(whole, bytes, std::max<std::size_t>(size, 1), size);
  const std::size_t num_pieces = feed(pieces, bytes, 7, 1);
  for (const RequestParser* parser : {&whole, &pieces}) {
    if (parser->failure()) {
      require(parser->failure()->status >= 400 && parser->failure()->status < 500);
    }
  }
  // What is wrong may be found at once or with the last byte of a line; and a line that fits when
  // it comes whole may be too long while its end is awaited.
  if (whole.is_done() && !(pieces.failure() && pieces.failure()->status == 431)) {
    require(pieces.is_done() && num_whole == num_pieces);
    const fathom::http::RequestHead head = whole.take_head();
    check_target(head.target);
    require(head.target == pieces.take_head().target);
    const std::string body = whole.take_body();
    require(body == pieces.take_body());
    require(body.size() <= static_cast<std::size_t>(kLimits.body_bytes));
  }
  require(whole.is_done() || !pieces.is_done());
  return 0;
}
