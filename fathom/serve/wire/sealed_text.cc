#include "fathom/serve/wire/sealed_text.h"

#include <memory>
#include <vector>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "fathom/base/core/error.h"

namespace fathom::wire {
namespace {

// base64(kMark, nonce, ciphertext, tag)
constexpr std::uint8_t kMark = 0xf1;
constexpr int kNonce_bytes = 12;
constexpr int kTag_bytes = 16;
constexpr std::size_t kHead_bytes = 1 + kNonce_bytes;
// Far more than any reasoning; lengths are ints to OpenSSL.
constexpr std::size_t kMostSealed_bytes = std::size_t{1} << 28;

using Bytes = std::vector<std::uint8_t>;
using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

void require(bool is_done) {
  if (!is_done) {
    fail(ErrorCode::Internal, "sealing text: OpenSSL refused");
  }
}

const std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

Context new_context() {
  Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  require(context != nullptr);
  return context;
}

std::string to_base64(const Bytes& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<std::uint8_t*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

// Empty for what is no base64 as it is written here: bits that the last character does not need are
// 0.
Bytes from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > kMostSealed_bytes) {
    return {};
  }
  Bytes bytes(text.size() / 4 * 3);
  const int length = EVP_DecodeBlock(bytes.data(), bytes_of(text), static_cast<int>(text.size()));
  const std::size_t num_padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (length != static_cast<int>(bytes.size())) {
    return {};
  }
  bytes.resize(bytes.size() - num_padding);
  return to_base64(bytes) == text ? bytes : Bytes();
}

}  // namespace

TextSeal::TextSeal(std::string_view secret) {
  if (secret.empty()) {
    require(RAND_bytes(key_.data(), static_cast<int>(key_.size())) == 1);
    return;
  }
  unsigned int length = 0;
  require(EVP_Digest(secret.data(), secret.size(), key_.data(), &length, EVP_sha256(), nullptr) ==
              1 &&
          length == key_.size());
}

std::string TextSeal::seal(std::string_view owner, std::string_view text) const {
  FATHOM_CHECK(text.size() < kMostSealed_bytes / 2 && owner.size() < kMostSealed_bytes);
  Bytes sealed(kHead_bytes + text.size() + kTag_bytes);
  sealed[0] = kMark;
  std::uint8_t* const nonce = sealed.data() + 1;
  require(RAND_bytes(nonce, kNonce_bytes) == 1);
  const Context context = new_context();
  int length = 0;
  require(EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), nonce) == 1);
  require(EVP_EncryptUpdate(context.get(), nullptr, &length, bytes_of(owner),
                            static_cast<int>(owner.size())) == 1);
  std::uint8_t* out = sealed.data() + kHead_bytes;
  require(EVP_EncryptUpdate(context.get(), out, &length, bytes_of(text),
                            static_cast<int>(text.size())) == 1);
  out += text.size();
  require(EVP_EncryptFinal_ex(context.get(), out, &length) == 1);
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag_bytes, out) == 1);
  return to_base64(sealed);
}

std::optional<std::string> TextSeal::open(std::string_view owner, std::string_view sealed) const {
  Bytes bytes = from_base64(sealed);
  if (bytes.size() < kHead_bytes + kTag_bytes || bytes[0] != kMark) {
    return std::nullopt;
  }
  std::string text(bytes.size() - kHead_bytes - kTag_bytes, '\0');
  std::uint8_t* const tag = bytes.data() + bytes.size() - kTag_bytes;
  const Context context = new_context();
  int length = 0;
  require(EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(),
                             bytes.data() + 1) == 1);
  require(EVP_DecryptUpdate(context.get(), nullptr, &length, bytes_of(owner),
                            static_cast<int>(owner.size())) == 1);
  auto* const out = reinterpret_cast<std::uint8_t*>(text.data());
  require(EVP_DecryptUpdate(context.get(), out, &length, bytes.data() + kHead_bytes,
                            static_cast<int>(text.size())) == 1);
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag_bytes, tag) == 1);
  if (EVP_DecryptFinal_ex(context.get(), out + text.size(), &length) != 1) {
    return std::nullopt;
  }
  return text;
}

}  // namespace fathom::wire
