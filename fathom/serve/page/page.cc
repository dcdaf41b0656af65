#include "fathom/serve/page/page.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::embedded {
std::span<const std::pair<std::string_view, std::string_view>> page_files();
}  // namespace fathom::embedded

namespace fathom::page {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kContentTypes = {{
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
}};

// Nothing from elsewhere, nothing inline, no frame around it; and with trusted types, whatever
// would parse a string as HTML throws.
constexpr std::string_view kContentSecurityPolicy =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

std::string_view content_type_of(std::string_view name) {
  for (const auto& [ending, type] : kContentTypes) {
    if (name.ends_with(ending)) {
      return type;
    }
  }
  fail(ErrorCode::Internal, "the page's file ", name, " has no content type");
}

// FNV-1a, 64 bits: tells versions of a file apart, no more.
std::string etag_of(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  }
  std::string etag = "\"";
  for (int shift = 60; shift >= 0; shift -= 4) {
    etag += "0123456789abcdef"[(hash >> shift) & 15];
  }
  return etag + '"';
}

std::string path_of(std::string_view name) {
  return name == "index.html" ? "/" : "/page/" + std::string(name);
}

}  // namespace

std::vector<File> files() {
  std::vector<File> result;
  for (const auto& [name, bytes] : embedded::page_files()) {
    result.push_back({path_of(name), content_type_of(name), bytes, etag_of(bytes)});
  }
  return result;
}

http::Response answer(const File& file, const http::Request& request) {
  http::Response response;
  response.content_type = file.content_type;
  response.headers = {
      {"ETag", file.etag},
      // Kept, but asked about each time: another version of the server may be there tomorrow.
      {"Cache-Control", "no-cache"},
      {"Content-Security-Policy", std::string(kContentSecurityPolicy)},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "same-origin"},
  };
  // A list of tags may come, and a proxy may have marked them as weak ("W/").
  if (request.header("If-None-Match").find(file.etag) != std::string_view::npos) {
    response.status = 304;
  } else {
    response.body = file.bytes;
  }
  return response;
}

void add_routes(http::Router& router) {
  for (File& file : files()) {
    const auto shared = std::make_shared<const File>(std::move(file));
    router.add(
        "GET", shared->path,
        [shared](const http::ExchangePtr& exchange) {
          exchange->respond(answer(*shared, exchange->request()));
        },
        http::Access::Open);
  }
}

}  // namespace fathom::page
