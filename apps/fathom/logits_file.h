// Logits streamed to an .npy file, which appears under its name only when it is complete.
#pragma once

#include <filesystem>
#include <memory>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/output_file.h"

namespace fathom::app {

class InterruptWatch;

class LogitsFile {
 public:
  // float32 [num_rows, num_columns]. Throws Io when it cannot be created or the disk is too small.
  LogitsFile(const std::filesystem::path& path,
             Index num_rows,
             Index num_columns,
             InterruptWatch& interrupts);
  ~LogitsFile();
  LogitsFile(const LogitsFile&) = delete;
  LogitsFile& operator=(const LogitsFile&) = delete;

  // The next rows in order.
  void append(Index num_rows, const float* logits);
  Index num_rows_written() const { return num_rows_written_; }
  void commit();

 private:
  Index num_rows_;
  Index num_columns_;
  Index num_rows_written_ = 0;
  Index header_bytes_;
  InterruptWatch& interrupts_;
  std::unique_ptr<platform::OutputFile> output_;
};

}  // namespace fathom::app
