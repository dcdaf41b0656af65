// The parts of a server that starting and checking share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fathom/serve/http/server.h"

#include "apps/fathom/serve_log.h"
#include "apps/fathom/serve_options.h"

namespace fathom::app {

struct ServeAccess {
  std::shared_ptr<http::ApiKeys> keys;  // null: nobody needs one
  std::vector<std::string> warnings;
};

// Reads the keys. Throws InvalidArgument when others than this machine could ask without one.
ServeAccess open_access(const ServeOptions& options);
// From the file as it is at the moment; throws what reading throws and then changes nothing.
// Returns warnings.
std::vector<std::string> reload_keys(const ServeOptions& options, http::ApiKeys& keys);

// `log` may be null.
http::ServerOptions server_options(const ServeOptions& options,
                                   const std::shared_ptr<ServeLog>& log);

// "http://127.0.0.1:8080"
std::string url_of(const http::Server& server, const ServeOptions& options);

// What reasoning that clients keep is sealed with: the file's bytes, made when there is no file;
// for an empty path nothing. Throws Io or InvalidArgument.
std::string open_secret(const std::string& path);

// Throws Io when the folder cannot be made or written to.
void check_snapshot_folder(const std::string& path);

}  // namespace fathom::app
