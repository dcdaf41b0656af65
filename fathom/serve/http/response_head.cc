#include "fathom/serve/http/response_head.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace fathom::http {
namespace {

struct Reason {
  int status;
  std::string_view phrase;
};

constexpr std::array<Reason, 30> kReasons = {{
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
}};

void add(std::string& bytes, std::string_view name, std::string_view value) {
  const std::size_t begin = bytes.size();
  bytes.append(name).append(": ").append(value);
  std::replace_if(
      bytes.begin() + static_cast<std::ptrdiff_t>(begin), bytes.end(),
      [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  bytes.append("\r\n");
}

// RFC 9110, 5.6.7; names of days and months are English in every locale.
std::string date() {
  static constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                            "Thu", "Fri", "Sat"};
  static constexpr std::array<std::string_view, 12> kMonths = {
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  const auto two_digits = [](int value) {
    return std::string(value < 10 ? "0" : "") + std::to_string(value);
  };
  std::string text(kDays.at(static_cast<std::size_t>(utc.tm_wday)));
  text.append(", ").append(two_digits(utc.tm_mday)).append(" ");
  text.append(kMonths.at(static_cast<std::size_t>(utc.tm_mon))).append(" ");
  text.append(std::to_string(1900 + utc.tm_year)).append(" ");
  text.append(two_digits(utc.tm_hour)).append(":").append(two_digits(utc.tm_min)).append(":");
  return text.append(two_digits(utc.tm_sec)).append(" GMT");
}

}  // namespace

std::string_view reason_phrase(int status) {
  const auto found = std::find_if(kReasons.begin(), kReasons.end(),
                                  [&](const Reason& reason) { return reason.status == status; });
  return found == kReasons.end() ? std::string_view{} : found->phrase;
}

std::string to_bytes(const ResponseHead& head) {
  std::string bytes = "HTTP/1.1 " + std::to_string(head.status) + " ";
  bytes.append(reason_phrase(head.status)).append("\r\n");
  add(bytes, "Date", date());
  if (!head.content_type.empty()) {
    add(bytes, "Content-Type", head.content_type);
  }
  if (head.content_length) {
    add(bytes, "Content-Length", std::to_string(*head.content_length));
  }
  if (head.is_chunked) {
    add(bytes, "Transfer-Encoding", "chunked");
  }
  add(bytes, "Connection", head.keeps_alive ? "keep-alive" : "close");
  // Clients of different vendors look for different names.
  if (!head.request_id.empty()) {
    add(bytes, "x-request-id", head.request_id);
    add(bytes, "request-id", head.request_id);
  }
  for (const Header& header : head.headers) {
    add(bytes, header.name, header.value);
  }
  return bytes.append("\r\n");
}

}  // namespace fathom::http
