#include "fathom/model/weights/gguf_writer.h"

#include <system_error>

#include "fathom/base/core/error.h"

namespace fathom::weights {

constexpr Index kAlignment = 32;

CheckpointWriter open_gguf_writer(const std::filesystem::path& path,
                                  std::span<const formats::GgufWriteValue> metadata,
                                  std::span<const formats::GgufTensor> tensors,
                                  bool overwrite) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    fail(ErrorCode::InvalidArgument, path.string(), ": is a folder, expected a file");
  }
  if (!overwrite && std::filesystem::exists(path, error)) {
    fail(ErrorCode::InvalidArgument, path.string(),
         ": exists already; overwriting was not asked for");
  }
  const formats::GgufLayout layout = formats::make_gguf_header(metadata, tensors, kAlignment);
  const Index file_bytes = layout.tensors.empty()
                               ? to_index(layout.header.size())
                               : ceil_div(layout.tensors.back().end, kAlignment) * kAlignment;
  CheckpointWriter writer(path.parent_path());
  const Index file_idx = writer.add_file(path.filename().string(), file_bytes);
  writer.write_to_file(file_idx, 0, std::as_bytes(std::span(layout.header)));
  for (const formats::GgufTensor& tensor : layout.tensors) {
    writer.add_tensor({file_idx, tensor.begin, tensor.end - tensor.begin});
  }
  return writer;
}

}  // namespace fathom::weights
