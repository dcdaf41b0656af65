#include "fathom/serve/http/network.h"

#include <charconv>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"
#include "fathom/base/formats/text.h"

namespace fathom::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorStatus = boost::system::error_code;
using TlsStream = asio::ssl::stream<tcp::socket>;

bool is_end_of_stream(const ErrorStatus& error) {
  return error == asio::error::eof || error == asio::ssl::error::stream_truncated;
}

// Every operation holds the transport: Asio works on its members until the callback was called.
// The callbacks run one at a time because the socket's executor is a strand.
template <typename Stream>
class AsioTransport final : public Transport,
                            public std::enable_shared_from_this<AsioTransport<Stream>> {
 public:
  template <typename... Arguments>
  explicit AsioTransport(std::shared_ptr<void> owner, tcp::socket socket, Arguments&... arguments)
      : owner_(std::move(owner)),
        peer_(peer_of(socket)),
        stream_(std::move(socket), arguments...),
        timer_(stream_.get_executor()) {}

  void open(Done done) override {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.async_handshake(TlsStream::server,
                              [self = this->shared_from_this(),
                               done = std::move(done)](ErrorStatus error) { done(error, 0); });
    } else {
      post([done = std::move(done)] { done({}, 0); });
    }
  }

  void read_some(char* data, std::size_t size, Done done) override {
    stream_.async_read_some(asio::buffer(data, size),
                            [self = this->shared_from_this(), done = std::move(done)](
                                ErrorStatus error, std::size_t num_bytes) {
                              if (is_end_of_stream(error)) {
                                done({}, 0);
                              } else {
                                done(error, num_bytes);
                              }
                            });
  }

  void write(const char* data, std::size_t size, Done done) override {
    asio::async_write(stream_, asio::buffer(data, size),
                      [self = this->shared_from_this(), done = std::move(done)](
                          ErrorStatus error, std::size_t num_bytes) { done(error, num_bytes); });
  }

  void end_writing() override {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.async_shutdown([self = this->shared_from_this()](ErrorStatus) {});
    } else {
      ErrorStatus ignored;
      socket().shutdown(tcp::socket::shutdown_send, ignored);
    }
  }

  void close(bool is_reset) override {
    ErrorStatus ignored;
    timer_.cancel();
    if (is_reset) {
      socket().set_option(asio::socket_base::linger(true, 0), ignored);
    }
    socket().close(ignored);
  }

  void post(std::function<void()> call) override {
    asio::post(stream_.get_executor(), std::move(call));
  }

  void call_at(Clock::time_point time, std::function<void()> call) override {
    timer_.expires_at(time);
    timer_.async_wait([self = this->shared_from_this(), call = std::move(call)](ErrorStatus error) {
      if (!error) {
        call();
      }
    });
  }

  std::string peer() const override { return peer_; }

 private:
  auto& socket() { return stream_.lowest_layer(); }

  static std::string peer_of(const tcp::socket& socket) {
    ErrorStatus error;
    const tcp::endpoint endpoint = socket.remote_endpoint(error);
    return error ? std::string()
                 : to_string(Endpoint{endpoint.address().to_string(), endpoint.port()});
  }

  const std::shared_ptr<void> owner_;  // of the executor
  const std::string peer_;
  Stream stream_;
  asio::steady_timer timer_;
};

// IPv4 first: that is what "localhost" is to most clients.
tcp::endpoint resolve(const Endpoint& endpoint) {
  asio::io_context io;
  tcp::resolver resolver(io);
  ErrorStatus error;
  const auto found =
      resolver.resolve(endpoint.host, std::to_string(endpoint.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    fail(ErrorCode::InvalidArgument, "listen: ", formats::quote(endpoint.host),
         " is no address of this machine: ", error.message());
  }
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4()) {
      return entry.endpoint();
    }
  }
  return found.begin()->endpoint();
}

std::optional<asio::ssl::context> make_tls(const NetworkOptions& options) {
  if (options.tls_certificate_path.empty()) {
    return std::nullopt;
  }
  asio::ssl::context tls(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_2_VERSION);
  ErrorStatus error;
  tls.use_certificate_chain_file(options.tls_certificate_path, error);
  if (error) {
    fail(ErrorCode::InvalidArgument, "TLS certificate ", options.tls_certificate_path,
         ": expected a PEM file with the certificate and its chain: ", error.message());
  }
  const std::string& key =
      options.tls_key_path.empty() ? options.tls_certificate_path : options.tls_key_path;
  tls.use_private_key_file(key, asio::ssl::context::pem, error);
  if (error) {
    fail(ErrorCode::InvalidArgument, "TLS key ", key,
         ": expected a PEM file with the key of the certificate: ", error.message());
  }
  return tls;
}

}  // namespace

struct Network::Impl : std::enable_shared_from_this<Network::Impl> {
  explicit Impl(const NetworkOptions& network_options)
      : options(network_options),
        tls(make_tls(options)),
        io(options.num_io_threads),
        work(io.get_executor()),
        strand(asio::make_strand(io)),
        acceptor(strand),
        retry(strand),
        handlers(to_size(options.num_handler_threads)) {
    listen();
  }

  void listen() {
    const tcp::endpoint endpoint = resolve(options.listen);
    try {
      acceptor.open(endpoint.protocol());
      acceptor.set_option(asio::socket_base::reuse_address(true));
      acceptor.bind(endpoint);
      acceptor.listen();
    } catch (const boost::system::system_error& error) {
      fail(ErrorCode::Io, "cannot listen on ", to_string(options.listen), ": ",
           error.code().message());
    }
    options.listen.port = acceptor.local_endpoint().port();
  }

  void accept() {
    auto socket = std::make_shared<tcp::socket>(asio::make_strand(io));
    acceptor.async_accept(*socket, [self = shared_from_this(), socket](ErrorStatus error) {
      if (!self->acceptor.is_open()) {
        return;
      }
      if (!error) {
        self->on_socket(std::move(*socket));
        self->accept();
        return;
      }
      // Out of descriptors or memory: what is open must end first, and the others wait.
      self->retry.expires_after(std::chrono::milliseconds(50));
      self->retry.async_wait([self](ErrorStatus) {
        if (self->acceptor.is_open()) {
          self->accept();
        }
      });
    });
  }

  void on_socket(tcp::socket socket) {
    ErrorStatus ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    if (tls) {
      accepted(
          std::make_shared<AsioTransport<TlsStream>>(shared_from_this(), std::move(socket), *tls));
    } else {
      accepted(std::make_shared<AsioTransport<tcp::socket>>(shared_from_this(), std::move(socket)));
    }
  }

  NetworkOptions options;
  std::optional<asio::ssl::context> tls;
  std::function<void(std::shared_ptr<Transport>)> accepted;
  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  asio::strand<asio::io_context::executor_type> strand;
  tcp::acceptor acceptor;
  asio::steady_timer retry;
  asio::thread_pool handlers;
  std::vector<std::jthread> threads;
};

Network::Network(const NetworkOptions& options) : impl_(std::make_shared<Impl>(options)) {}

// asio's post throws where there is no memory, which ends the process.
// NOLINTNEXTLINE(bugprone-exception-escape)
Network::~Network() {
  stop_accepting();
  join();
}

const Endpoint& Network::endpoint() const {
  return impl_->options.listen;
}

void Network::start(std::function<void(std::shared_ptr<Transport>)> accepted) {
  impl_->accepted = std::move(accepted);
  asio::post(impl_->strand, [impl = impl_] { impl->accept(); });
  for (int i = 0; i < impl_->options.num_io_threads; ++i) {
    impl_->threads.emplace_back([io = &impl_->io] { io->run(); });
  }
}

void Network::stop_accepting() {
  if (impl_->threads.empty()) {
    return;
  }
  asio::post(impl_->strand, [impl = impl_] {
    ErrorStatus ignored;
    impl->acceptor.close(ignored);
    impl->retry.cancel();
  });
}

void Network::run_handler(std::function<void()> handler) {
  asio::post(impl_->handlers, std::move(handler));
}

void Network::join() {
  impl_->handlers.join();
  impl_->work.reset();
  impl_->threads.clear();
  impl_->accepted = nullptr;
}

Endpoint parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  Endpoint endpoint;
  bool is_valid = colon != std::string_view::npos && colon > 0;
  if (is_valid) {
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
      host = host.substr(1, host.size() - 2);
    } else {
      is_valid = host.find(':') == std::string_view::npos;
    }
    endpoint.host = host;
    const std::string_view port = text.substr(colon + 1);
    const auto [end, status] =
        std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    is_valid = is_valid && !host.empty() && status == std::errc() &&
               end == port.data() + port.size() && endpoint.port >= 0 && endpoint.port <= 65535;
  }
  if (!is_valid) {
    fail(ErrorCode::InvalidArgument, "listen: expected HOST:PORT such as 127.0.0.1:8080, found ",
         formats::quote(text));
  }
  return endpoint;
}

std::string to_string(const Endpoint& endpoint) {
  const bool is_v6 = endpoint.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(endpoint.port);
}

bool is_loopback(const Endpoint& endpoint) {
  return resolve(endpoint).address().is_loopback();
}

}  // namespace fathom::http
