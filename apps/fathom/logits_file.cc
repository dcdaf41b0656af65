#include "apps/fathom/logits_file.h"

#include <array>
#include <optional>
#include <string>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/npy.h"

#include "apps/fathom/interrupt.h"

namespace fathom::app {
namespace {

constexpr Index kFloatBytes = sizeof(float);

}  // namespace

LogitsFile::LogitsFile(const std::filesystem::path& path,
                       Index num_rows,
                       Index num_columns,
                       InterruptWatch& interrupts)
    : num_rows_(num_rows), num_columns_(num_columns), interrupts_(interrupts) {
  // Renaming over a folder would fail only when all the work is done.
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    fail(ErrorCode::Io, "create ", path.string(), ": Is a directory");
  }
  const std::array<Index, 2> shape = {num_rows, num_columns};
  const std::string header = formats::make_npy_header(formats::NpyDType::F32, shape);
  header_bytes_ = to_index(header.size());
  const auto row_bytes = checked_multiply(num_columns, kFloatBytes);
  const auto data_bytes = row_bytes ? checked_multiply(*row_bytes, num_rows) : row_bytes;
  FATHOM_CHECK(data_bytes.has_value());
  interrupts_.change_unfinished([&] {
    output_ = std::make_unique<platform::OutputFile>(path, header_bytes_ + *data_bytes);
    return output_->temporary_path();
  });
  output_->write(0, std::as_bytes(std::span(header)));
}

LogitsFile::~LogitsFile() {
  interrupts_.change_unfinished([&] {
    output_.reset();
    return std::filesystem::path();
  });
}

void LogitsFile::append(Index num_rows, const float* logits) {
  FATHOM_CHECK(num_rows_written_ + num_rows <= num_rows_);
  const std::span<const float> block(logits, to_size(num_rows * num_columns_));
  output_->write(header_bytes_ + num_rows_written_ * num_columns_ * kFloatBytes,
                 std::as_bytes(block));
  num_rows_written_ += num_rows;
}

void LogitsFile::commit() {
  FATHOM_CHECK(num_rows_written_ == num_rows_);
  output_->sync();
  interrupts_.change_unfinished([&] {
    output_->commit();
    return std::filesystem::path();
  });
}

}  // namespace fathom::app
