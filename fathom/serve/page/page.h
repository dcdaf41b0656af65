// The web page at `/`: a chat with the models of this server. Its files are part of the program, so
// it needs no network and no other server.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/http/exchange.h"
#include "fathom/serve/http/router.h"

namespace fathom::page {

struct File {
  std::string path;  // of its URL: "/", "/page/app.js"
  std::string_view content_type;
  std::string_view bytes;
  std::string etag;  // changes with the bytes; quoted, as the header wants it
};

// All of them, in the order of their names.
std::vector<File> files();

// 200 with the bytes, or 304 when the client says that it has them.
http::Response answer(const File& file, const http::Request& request);

// A route for each file. They need no API key: what they ask of the server does.
void add_routes(http::Router& router);

}  // namespace fathom::page
