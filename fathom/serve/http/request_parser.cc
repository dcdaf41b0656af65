#include "fathom/serve/http/request_parser.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "fathom/serve/http/field_value.h"

namespace fathom::http {
namespace {

namespace beast = boost::beast::http;
using BeastText = boost::beast::string_view;
using ErrorStatus = boost::system::error_code;

// "0\r\n\r\n": nothing that ends a body in chunks is shorter.
constexpr std::size_t kShortestEndBytes = 5;

std::string_view view(BeastText text) {
  return {text.data(), text.size()};
}

}  // namespace

// Beast calls these with pieces of the request; what it checks by itself is not repeated here.
struct RequestParser::Parser final : beast::basic_parser<true> {
  RequestHead head;
  std::string body;
  std::size_t num_headers = 0;
  bool is_body = false;  // headers from here on are trailers, which are left out

 private:
  void on_request_impl(
      beast::verb, BeastText method, BeastText target, int version, ErrorStatus&) override {
    head.method = view(method);
    head.target = view(target);
    head.is_http_1_0 = version < 11;
  }
  void on_response_impl(int, BeastText, int, ErrorStatus&) override {}
  void on_field_impl(beast::field, BeastText name, BeastText value, ErrorStatus&) override {
    ++num_headers;
    if (!is_body) {
      head.headers.push_back({std::string(view(name)), std::string(view(value))});
    }
  }
  void on_header_impl(ErrorStatus&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorStatus&) override {
    is_body = true;
  }
  std::size_t on_body_impl(BeastText bytes, ErrorStatus&) override {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastText, ErrorStatus&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastText bytes, ErrorStatus&) override {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_finish_impl(ErrorStatus&) override {}
};

RequestParser::RequestParser(const ParserLimits& limits)
    : limits_(limits), parser_(std::make_unique<Parser>()) {
  parser_->header_limit(static_cast<std::uint32_t>(limits.header_bytes));
  parser_->body_limit(static_cast<std::uint64_t>(limits.body_bytes));
}

RequestParser::~RequestParser() = default;

bool RequestParser::has_head() const {
  return parser_->is_header_done() && is_head_checked_ && !failure_;
}
bool RequestParser::is_done() const {
  return parser_->is_done() && has_head();
}
RequestHead RequestParser::take_head() {
  return std::move(parser_->head);
}
Index RequestParser::body_bytes() const {
  return to_index(parser_->body.size());
}
std::string RequestParser::take_body() {
  return std::move(parser_->body);
}

std::size_t RequestParser::feed(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && !failure_ && !parser_->is_done()) {
    const std::size_t count = put(bytes.substr(taken));
    taken += count;
    if (count == 0) {
      break;
    }
  }
  return taken;
}

std::size_t RequestParser::put(std::string_view bytes) {
  // Beast asserts that so many are there when it looks at the last chunk again, and does not see to
  // it where that chunk is also the first.
  if (parser_->is_header_done() && parser_->chunked() && bytes.size() < kShortestEndBytes) {
    return 0;
  }
  ErrorStatus error;
  const std::size_t count = parser_->put({bytes.data(), bytes.size()}, error);
  if (error && error != beast::error::need_more) {
    if (error == beast::error::header_limit) {
      // Until the first line is complete, it alone is what is too long.
      if (bytes.find('\n') == std::string_view::npos) {
        fail_with(414, "the request's target is too long");
      } else {
        fail_with(431, "the request's headers are longer than " +
                           std::to_string(limits_.header_bytes) + " bytes");
      }
    } else if (error == beast::error::body_limit) {
      fail_with(413, "the request's body is longer than " + std::to_string(limits_.body_bytes) +
                         " bytes");
    } else if (error == beast::error::bad_version) {
      fail_with(400, "expected HTTP/1.1 or HTTP/1.0");
    } else {
      fail_with(400, "not an HTTP request: " + error.message());
    }
  }
  if (!failure_ && parser_->is_header_done() && !is_head_checked_) {
    check_head();
  }
  // Lines between the chunks of a body: Beast waits for their ends without a limit.
  if (error == beast::error::need_more && to_index(bytes.size() - count) > limits_.header_bytes) {
    fail_with(431, "a line between the chunks of the request's body is too long");
  }
  return count;
}

void RequestParser::check_head() {
  is_head_checked_ = true;
  RequestHead& head = parser_->head;
  head.keeps_alive = parser_->keep_alive();
  if (to_index(head.target.size()) > limits_.target_bytes) {
    fail_with(414, "the request's target is longer than " + std::to_string(limits_.target_bytes) +
                       " bytes");
  }
  if (to_index(parser_->num_headers) > limits_.num_headers) {
    fail_with(431, "the request has more than " + std::to_string(limits_.num_headers) + " headers");
  }
  Index num_hosts = 0;
  for (const Header& header : head.headers) {
    if (equal_ignoring_case(header.name, "host")) {
      ++num_hosts;
    } else if (equal_ignoring_case(header.name, "transfer-encoding") &&
               (!equal_ignoring_case(header.value, "chunked") || head.is_http_1_0)) {
      fail_with(400, "transfer-encoding: expected chunked, by an HTTP/1.1 client");
    } else if (equal_ignoring_case(header.name, "content-encoding") &&
               !equal_ignoring_case(header.value, "identity")) {
      fail_with(415, "content-encoding: expected a body that is not compressed");
    } else if (equal_ignoring_case(header.name, "expect")) {
      head.expects_continue = equal_ignoring_case(header.value, "100-continue");
      if (!head.expects_continue) {
        fail_with(417, "expect: expected 100-continue");
      }
    }
  }
  // RFC 9112, 3.2.
  if (num_hosts > 1 || (num_hosts == 0 && !head.is_http_1_0)) {
    fail_with(400, "host: expected this header once");
  }
}

void RequestParser::fail_with(int status, std::string message) {
  if (!failure_) {
    failure_ = ParseFailure{.status = status, .message = std::move(message)};
  }
}

}  // namespace fathom::http
