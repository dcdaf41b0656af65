#include "fathom/serve/page/page.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace fathom::page {
namespace {

// An exchange that keeps the answer.
class KeptExchange : public http::Exchange {
 public:
  explicit KeptExchange(http::Request request) : request_(std::move(request)) {}

  const http::Request& request() const override { return request_; }
  void respond(http::Response response) override { response_ = std::move(response); }
  void begin_events(std::vector<http::Header>, std::function<std::string()>) override { FAIL(); }
  void send(std::string) override { FAIL(); }
  void end_events() override { FAIL(); }
  void on_disconnect(std::function<void()>) override {}

  const std::optional<http::Response>& response() const { return response_; }

 private:
  http::Request request_;
  std::optional<http::Response> response_;
};

http::Response get(const std::string& path, std::vector<http::Header> headers = {}) {
  http::Router router;
  add_routes(router);
  const http::Router::Match match = router.find("GET", path);
  if (match.handler == nullptr) {
    ADD_FAILURE() << path << ": no route";
    return {};
  }
  EXPECT_EQ(match.access, http::Access::Open) << path;
  const auto exchange = std::make_shared<KeptExchange>(
      http::Request{.method = "GET", .path = path, .headers = std::move(headers)});
  (*match.handler)(exchange);
  if (!exchange->response()) {
    ADD_FAILURE() << path << ": no answer";
    return {};
  }
  return *exchange->response();
}

std::string header(const http::Response& response, std::string_view name) {
  for (const http::Header& one : response.headers) {
    if (one.name == name) {
      return one.value;
    }
  }
  return {};
}

bool is_ours(const File& file) {
  return file.path != "/page/marked.js" && file.path != "/page/prism.js";
}

TEST(Page, EveryFileHasARouteThatNeedsNoKey) {
  for (const File& file : files()) {
    const http::Response response = get(file.path);
    EXPECT_EQ(response.status, 200) << file.path;
    EXPECT_EQ(response.body, file.bytes) << file.path;
    EXPECT_FALSE(response.body.empty()) << file.path;
  }
}

TEST(Page, ContentTypesFollowTheNames) {
  EXPECT_EQ(get("/").content_type, "text/html; charset=utf-8");
  EXPECT_EQ(get("/page/app.js").content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(get("/page/theme.css").content_type, "text/css; charset=utf-8");
  EXPECT_EQ(get("/page/icon.svg").content_type, "image/svg+xml");
}

TEST(Page, BrowsersRunNothingButItsOwnFiles) {
  for (const File& file : files()) {
    const http::Response response = get(file.path);
    const std::string policy = header(response, "Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'self';")) << policy;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos) << policy;
    EXPECT_NE(policy.find("require-trusted-types-for 'script'"), std::string::npos) << policy;
    EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(header(response, "Referrer-Policy"), "same-origin");
  }
}

TEST(Page, UnchangedFilesAreNotSentAgain) {
  const http::Response first = get("/page/app.js");
  const std::string etag = header(first, "ETag");
  ASSERT_GT(etag.size(), 2U);
  EXPECT_EQ(header(first, "Cache-Control"), "no-cache");

  for (const std::string& known : {etag, "\"other\", W/" + etag}) {
    const http::Response again = get("/page/app.js", {{"If-None-Match", known}});
    EXPECT_EQ(again.status, 304) << known;
    EXPECT_TRUE(again.body.empty());
    EXPECT_EQ(header(again, "ETag"), etag);
  }
  EXPECT_EQ(get("/page/app.js", {{"If-None-Match", "\"other\""}}).status, 200);
}

TEST(Page, TagsTellFilesApart) {
  std::set<std::string> tags;
  for (const File& file : files()) {
    EXPECT_TRUE(tags.insert(file.etag).second) << file.path;
  }
}

// The page works without network: what it loads is its own. The SVG namespace is a name, no
// address; the parser's licences are comments.
TEST(Page, NoFileNamesAnotherServer) {
  const std::regex address("(https?:)?//[a-z0-9.-]+\\.[a-z]{2,}");
  for (const File& file : files()) {
    if (!is_ours(file)) {
      continue;
    }
    std::string text(file.bytes);
    for (std::size_t at; (at = text.find("http://www.w3.org/2000/svg")) != std::string::npos;) {
      text.erase(at, 26);
    }
    std::smatch found;
    EXPECT_FALSE(std::regex_search(text, found, address)) << file.path << ": " << found.str();
  }
}

TEST(Page, EveryFileThatOneNamesIsThere) {
  const std::regex name("/page/[a-z_]+\\.[a-z]+");
  std::set<std::string> paths;
  for (const File& file : files()) {
    paths.insert(file.path);
  }
  for (const File& file : files()) {
    const std::string text(file.bytes);
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at) {
      EXPECT_TRUE(paths.contains(at->str())) << file.path << " names " << at->str();
    }
  }
}

TEST(Page, NothingParsesStringsAsHtml) {
  for (const File& file : files()) {
    if (!is_ours(file)) {
      continue;
    }
    for (const char* sink : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
                             "eval(", "new Function", "DOMParser", "setHTML"}) {
      EXPECT_EQ(file.bytes.find(sink), std::string_view::npos) << file.path << ": " << sink;
    }
  }
}

TEST(Page, HtmlHasNothingInline) {
  const std::string html = get("/").body;
  EXPECT_FALSE(std::regex_search(html, std::regex("<script(?![^>]*src=)")));
  EXPECT_FALSE(std::regex_search(html, std::regex("<style|\\sstyle=|\\son[a-z]+=")));
}

}  // namespace
}  // namespace fathom::page
