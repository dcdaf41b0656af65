#include "fathom/train/data/byte_source.h"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/input_file.h"

namespace fathom::data {
namespace {

constexpr Index kPieceBytes = Index{1} << 18;

class PlainSource final : public ByteSource {
 public:
  explicit PlainSource(const std::filesystem::path& path) : file_(path) {}

  Index read(std::span<std::byte> bytes) override {
    const Index count = std::min(to_index(bytes.size()), file_.num_bytes() - offset_);
    file_.read(offset_, bytes.first(to_size(count)));
    offset_ += count;
    return count;
  }
  Index num_bytes_read() const override { return offset_; }

 private:
  platform::InputFile file_;
  Index offset_ = 0;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(const std::filesystem::path& path)
      : name_(path.string()), packed_(path), input_(to_size(kPieceBytes)) {
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  Index read(std::span<std::byte> bytes) override {
    bytes = bytes.first(std::min(bytes.size(), to_size(kPieceBytes)));
    stream_.next_out = reinterpret_cast<Bytef*>(bytes.data());
    stream_.avail_out = static_cast<uInt>(bytes.size());
    while (stream_.avail_out == bytes.size()) {
      if (stream_.avail_in == 0 && !fill()) {
        if (is_inside_) {
          refuse("ends within its data: the file is cut short");
        }
        return 0;
      }
      if (!is_inside_) {
        inflateReset(&stream_);  // the next member
      }
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        refuse(stream_.msg == nullptr ? "the file is damaged" : stream_.msg);
      }
      is_inside_ = status != Z_STREAM_END;
    }
    return to_index(bytes.size()) - Index{stream_.avail_out};
  }
  Index num_bytes_read() const override { return packed_.num_bytes_read(); }

 private:
  static constexpr int kGzipWindow = 15 + 16;  // the largest window, in a gzip wrapper

  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorCode::InvalidArgument, name_, ": near byte ",
         num_bytes_read() - Index{stream_.avail_in}, " of the gzip file: ", what);
  }

  bool fill() {
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(packed_.read(input_));
    return stream_.avail_in > 0;
  }

  std::string name_;
  PlainSource packed_;
  std::vector<std::byte> input_;
  z_stream stream_{};
  bool is_inside_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  if (path.extension() == ".gz") {
    return std::make_unique<GzipSource>(path);
  }
  return std::make_unique<PlainSource>(path);
}

}  // namespace fathom::data
