// Sockets, TLS and threads (Boost.Asio, OpenSSL): connections that come in, and where their
// callbacks run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fathom/serve/http/transport.h"

namespace fathom::http {

struct Endpoint {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any that is free
};

// "HOST:PORT", "[IPV6]:PORT". Throws InvalidArgument.
Endpoint parse_endpoint(std::string_view text);
std::string to_string(const Endpoint& endpoint);
// Whether only this machine reaches it; looks names up. Throws InvalidArgument for an unknown one.
bool is_loopback(const Endpoint& endpoint);

struct NetworkOptions {
  Endpoint listen = {};
  std::string tls_certificate_path = {};  // PEM with the chain; empty: no TLS
  std::string tls_key_path = {};          // PEM; empty: in the file of the certificate
  int num_io_threads = 2;
  int num_handler_threads = 2;
};

class Network {
 public:
  // Listens, and accepts nothing yet. Throws InvalidArgument (an address that there is not, a file
  // of TLS that is none) or Io (an address in use).
  explicit Network(const NetworkOptions& options);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // With the port that it got.
  const Endpoint& endpoint() const;

  // `accepted` is called by the threads of the network.
  void start(std::function<void(std::shared_ptr<Transport>)> accepted);
  void stop_accepting();
  // Runs it on a thread for handlers.
  void run_handler(std::function<void()> handler);
  // Waits for handlers, and for transports until all of them are closed. Nothing runs afterwards.
  void join();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace fathom::http
