// The documents of many inputs, one after another, a batch at a time.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "fathom/base/platform/append_file.h"
#include "fathom/train/data/documents.h"
#include "fathom/train/data/quality.h"

namespace fathom::data {

class DocumentStream {
 public:
  // The inputs have to outlive the stream.
  DocumentStream(const std::vector<Input>& inputs, const DocumentOptions& options);

  // Nothing at the end. Throws what DocumentReader throws.
  std::optional<Document> next();
  // The next documents, about as many as fit a few MiB; none at the end.
  std::vector<Document> next_batch();

  Index num_bytes_total() const { return num_bytes_total_; }
  Index num_bytes_read() const;
  Index num_broken_lines() const;

 private:
  const std::vector<Input>& inputs_;
  DocumentOptions options_;
  std::size_t num_opened_ = 0;
  std::optional<DocumentReader> reader_;
  Index num_bytes_total_ = 0;
  Index num_bytes_closed_ = 0;
  Index num_documents_ = 0;
  Index num_broken_closed_ = 0;
};

// What was decided about every document, a byte each, in a file.
class Decisions {
 public:
  Decisions(const std::filesystem::path& path, Index num_documents) : file_(path, num_documents) {}

  void add(std::optional<Refusal> refusal, bool was_repaired);
  Index size() const { return file_.num_bytes(); }
  bool is_kept(Index document) const;
  void sync() { file_.sync(); }

  struct Counts {
    Index documents = 0;
    Index repaired = 0;  // of those kept
    Index kept = 0;
    std::vector<Index> refused;  // by row of kRefusals
  };
  Counts count() const;

 private:
  std::uint8_t at(Index document) const;

  platform::AppendFile file_;
  mutable std::vector<std::byte> window_;  // of the file, from window_begin_ on
  mutable Index window_begin_ = 0;
};

// Batches of the documents that were kept, from document `first` on, until `take` returns false.
void for_each_kept_batch(DocumentStream& stream,
                         const Decisions& decisions,
                         Index first,
                         const std::function<bool(std::vector<Document>& documents)>& take);

}  // namespace fathom::data
