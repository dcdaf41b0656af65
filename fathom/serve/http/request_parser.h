// Bytes of a connection into one HTTP/1 request, with limits (the parser is Boost.Beast's).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/serve/http/exchange.h"

namespace fathom::http {

struct ParserLimits {
  Index header_bytes = Index{64} << 10;
  Index num_headers = 200;
  Index target_bytes = Index{8} << 10;
  Index body_bytes = Index{64} << 20;
};

struct RequestHead {
  std::string method;
  std::string target;  // raw
  std::vector<Header> headers;
  bool is_http_1_0 = false;
  bool keeps_alive = true;
  bool expects_continue = false;
};

// Why bytes are no request that we read: the status and the message of the answer.
struct ParseFailure {
  int status = 400;
  std::string message;
};

class RequestParser {
 public:
  explicit RequestParser(const ParserLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes bytes and returns how many it is done with. The rest is to be given again, with more
  // behind it, until is_done(): then it belongs to the next request. Nothing is taken after a
  // failure.
  std::size_t feed(std::string_view bytes);

  bool has_head() const;
  bool is_done() const;
  const std::optional<ParseFailure>& failure() const { return failure_; }

  // Once, as soon as has_head().
  RequestHead take_head();
  // Bytes of the body so far.
  Index body_bytes() const;
  // Once, when is_done().
  std::string take_body();

 private:
  struct Parser;

  std::size_t put(std::string_view bytes);
  void check_head();
  void fail_with(int status, std::string message);

  ParserLimits limits_;
  std::unique_ptr<Parser> parser_;
  bool is_head_checked_ = false;
  std::optional<ParseFailure> failure_;
};

}  // namespace fathom::http
