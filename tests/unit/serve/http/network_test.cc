#include "fathom/serve/http/network.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/support/counter.h"
#include "tests/support/expect_error.h"
#include "tests/support/http_server.h"
#include "tests/support/temp_dir.h"

namespace fathom::http {
namespace {

using test::HttpClient;
using test::HttpServer;
using testing::fails_with;

TEST(Endpoint, IsAHostAndAPort) {
  EXPECT_EQ(parse_endpoint("0.0.0.0:80").host, "0.0.0.0");
  EXPECT_EQ(parse_endpoint("0.0.0.0:80").port, 80);
  EXPECT_EQ(parse_endpoint("[::1]:8080").host, "::1");
  EXPECT_EQ(to_string(parse_endpoint("[::1]:8080")), "[::1]:8080");
  EXPECT_EQ(to_string(parse_endpoint("localhost:0")), "localhost:0");
  for (const char* text : {"", "8080", ":8080", "host", "host:", "host:x", "host:-1", "host:65536",
                           "::1:80", "[]:80", "host:80 "}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "listen: expected HOST:PORT", [&] {
      parse_endpoint(text);
    })) << text;
  }
}

TEST(Endpoint, KnowsWhichOnesOnlyThisMachineReaches) {
  EXPECT_TRUE(is_loopback({"127.0.0.1", 80}));
  EXPECT_TRUE(is_loopback({"127.9.9.9", 80}));
  EXPECT_TRUE(is_loopback({"::1", 80}));
  EXPECT_TRUE(is_loopback({"localhost", 80}));
  EXPECT_FALSE(is_loopback({"0.0.0.0", 80}));
  EXPECT_FALSE(is_loopback({"::", 80}));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "is no address of this machine", [] {
    is_loopback({"no.such.host.invalid", 80});
  }));
}

TEST(Network, AnAddressInUseIsToldByName) {
  const Network first({.listen = {"127.0.0.1", 0}});
  EXPECT_TRUE(fails_with(ErrorCode::Io,
                         "cannot listen on 127.0.0.1:" + std::to_string(first.endpoint().port),
                         [&] { const Network second({.listen = first.endpoint()}); }));
}

// A certificate of its own for localhost, and its key, in two files.
void make_certificate(const std::string& certificate_path, const std::string& key_path) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  FILE* file = std::fopen(certificate_path.c_str(), "wb");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(key_path.c_str(), "wb");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

// A client that trusts that certificate.
class TlsClient {
 public:
  TlsClient(int port, const std::string& certificate_path)
      : socket_(port), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_load_verify_file(context_, certificate_path.c_str());
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, socket_.descriptor());
    is_connected_ = SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool is_connected() const { return is_connected_; }
  void send(std::string_view bytes) {
    ASSERT_EQ(SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }
  // Until it holds `part`, or to the end.
  std::string read_until(std::string_view part) {
    std::string bytes;
    char buffer[4096];
    while (part.empty() || bytes.find(part) == std::string::npos) {
      const int count = SSL_read(ssl_, buffer, sizeof(buffer));
      if (count <= 0) {
        is_cleanly_ended_ = SSL_get_error(ssl_, count) == SSL_ERROR_ZERO_RETURN;
        break;
      }
      bytes.append(buffer, static_cast<std::size_t>(count));
    }
    return bytes;
  }
  bool is_cleanly_ended() const { return is_cleanly_ended_; }
  HttpClient& socket() { return socket_; }

 private:
  HttpClient socket_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool is_connected_ = false;
  bool is_cleanly_ended_ = false;
};

class Tls : public ::testing::Test {
 protected:
  Tls() { make_certificate(certificate_path_, key_path_); }

  ServerOptions options() const {
    return {.network = {.tls_certificate_path = certificate_path_, .tls_key_path = key_path_}};
  }

  const test::TempDir dir_;
  const std::string certificate_path_ = dir_ / "certificate.pem";
  const std::string key_path_ = dir_ / "key.pem";
};

TEST_F(Tls, RequestsAndStreamsGoThrough) {
  HttpServer server(options());
  TlsClient client(server.port(), certificate_path_);
  ASSERT_TRUE(client.is_connected());
  client.send(test::http_request("GET", "/hello"));
  EXPECT_TRUE(client.read_until("hello").ends_with("\r\n\r\nhello"));
  client.send(test::http_request("POST", "/stream", "{}"));
  EXPECT_NE(client.read_until("0\r\n\r\n").find("data: c"), std::string::npos);
}

// A client can tell the end of an answer without a length from one that was cut off.
TEST_F(Tls, TheEndIsSaid) {
  HttpServer server(options());
  TlsClient client(server.port(), certificate_path_);
  client.send("POST /stream HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(client.read_until("").ends_with("data: c\n\n"));
  EXPECT_TRUE(client.is_cleanly_ended());
}

TEST_F(Tls, WhoLeavesIsNoticed) {
  HttpServer server(options());
  TlsClient client(server.port(), certificate_path_);
  client.send(test::http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  test::Counter gone;
  held->on_disconnect([&] { gone.add(); });
  client.socket().close_now();
  EXPECT_TRUE(gone.wait_for(1));
}

TEST_F(Tls, WhoDoesNotSpeakItIsClosedAndDelaysNobody) {
  ServerOptions slow = options();
  slow.connection.header_timeout = Milliseconds(200);
  slow.network.num_io_threads = 1;
  HttpServer server(slow);
  HttpClient plain = server.connect();
  HttpClient silent = server.connect();
  plain.send(test::http_request("GET", "/hello"));
  TlsClient client(server.port(), certificate_path_);
  client.send(test::http_request("GET", "/hello"));
  EXPECT_NE(client.read_until("hello"), "");
  EXPECT_TRUE(plain.wait_for_end());
  EXPECT_TRUE(silent.wait_for_end());
}

TEST_F(Tls, FilesThatAreNoneAreNamed) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "TLS certificate /no/such.pem", [] {
    const Network network({.listen = {"127.0.0.1", 0}, .tls_certificate_path = "/no/such.pem"});
  }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "TLS key", [&] {
    const Network network({.listen = {"127.0.0.1", 0}, .tls_certificate_path = certificate_path_});
  }));
  make_certificate(dir_ / "other.pem", dir_ / "other_key.pem");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "TLS key", [&] {
    const Network network({.listen = {"127.0.0.1", 0},
                           .tls_certificate_path = certificate_path_,
                           .tls_key_path = dir_ / "other_key.pem"});
  }));
}

}  // namespace
}  // namespace fathom::http
