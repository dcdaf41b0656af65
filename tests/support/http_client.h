// A client of HTTP that sends any bytes, also wrong ones, and waits with a generous limit.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace fathom::test {

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the framing of chunks
  bool is_complete = false;                    // ended as its headers say
};

class HttpClient {
 public:
  // A small `receive_bytes` makes a reader that is slow at once.
  explicit HttpClient(int port, int receive_bytes = 0)
      : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes > 0) {
      setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("cannot connect to port " + std::to_string(port));
    }
    const int on = 1;
    setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  ~HttpClient() { close_now(); }
  HttpClient(HttpClient&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), input_(std::move(other.input_)) {}
  HttpClient& operator=(HttpClient&&) = delete;
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  int descriptor() const { return descriptor_; }

  // False when the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) {
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  void end_sending() { shutdown(descriptor_, SHUT_WR); }

  void close_now() {
    if (descriptor_ >= 0) {
      ::close(std::exchange(descriptor_, -1));
    }
  }

  // As a process that is killed with data unread.
  void reset() {
    const linger value = {1, 0};
    setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
    close_now();
  }

  // Everything that was received and not taken. Reads until it holds `part`; false when the server
  // closes before, or after half a minute.
  bool wait_for(std::string_view part) {
    while (input_.find(part) == std::string::npos) {
      if (!receive()) {
        return false;
      }
    }
    return true;
  }
  const std::string& input() const { return input_; }

  // Whether the server closes, within half a minute; keeps what it sends before.
  bool wait_for_end() {
    while (receive()) {
    }
    return is_ended_;
  }

  // Whether the server threw the connection away instead of ending it.
  bool was_reset() const { return was_reset_; }

  // The next response; `is_head` for that to a HEAD.
  HttpResponse read_response(bool is_head = false) {
    HttpResponse response;
    if (!wait_for("\r\n\r\n")) {
      return response;
    }
    read_head(response);
    const auto header = [&](const char* name) {
      const auto found = response.headers.find(name);
      return found == response.headers.end() ? std::string() : found->second;
    };
    if (is_head || response.status == 204 || response.status == 304 || response.status / 100 == 1) {
      response.is_complete = true;
    } else if (header("transfer-encoding") == "chunked") {
      read_chunks(response);
    } else if (!header("content-length").empty()) {
      response.is_complete = take(std::stoul(header("content-length")), response.body);
    } else {
      response.is_complete = wait_for_end();
      response.body = std::exchange(input_, {});
    }
    return response;
  }

  HttpResponse ask(std::string_view request, bool is_head = false) {
    send(request);
    return read_response(is_head);
  }

 private:
  bool receive() {
    if (is_ended_) {
      return false;
    }
    pollfd waiting = {descriptor_, POLLIN, 0};
    if (poll(&waiting, 1, 30'000) != 1) {
      return false;
    }
    char buffer[16384];
    const ssize_t count = recv(descriptor_, buffer, sizeof(buffer), 0);
    if (count <= 0) {
      is_ended_ = true;
      was_reset_ = count < 0;
      return false;
    }
    input_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  std::string take_line() {
    if (!wait_for("\r\n")) {
      return std::exchange(input_, {});
    }
    const std::size_t end = input_.find("\r\n");
    std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    return line;
  }

  bool take(std::size_t count, std::string& into) {
    while (input_.size() < count && receive()) {
    }
    const bool is_whole = input_.size() >= count;
    into.append(input_, 0, count);
    input_.erase(0, count);
    return is_whole;
  }

  void read_head(HttpResponse& response) {
    const std::string status_line = take_line();
    if (status_line.size() > 12 && status_line.starts_with("HTTP/1.1 ")) {
      response.status = std::stoi(status_line.substr(9, 3));
    }
    for (std::string line = take_line(); !line.empty(); line = take_line()) {
      const std::size_t colon = std::min(line.find(": "), line.size());
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      });
      response.headers[name] = line.substr(std::min(colon + 2, line.size()));
    }
  }

  void read_chunks(HttpResponse& response) {
    while (true) {
      const std::string line = take_line();
      if (line.empty() || line.find_first_not_of("0123456789abcdef") != std::string::npos) {
        return;
      }
      const std::size_t size = std::stoul(line, nullptr, 16);
      std::string line_end;
      if (!take(size, response.body) || !take(2, line_end) || line_end != "\r\n") {
        return;
      }
      if (size == 0) {
        response.is_complete = true;
        return;
      }
    }
  }

  int descriptor_;
  std::string input_;
  bool is_ended_ = false;
  bool was_reset_ = false;
};

}  // namespace fathom::test
