#include "fathom/train/data/document_stream.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::data {
namespace {

constexpr std::size_t kBatchBytes = std::size_t{4} << 20;
constexpr std::size_t kBatchDocuments = 4096;
constexpr Index kWindowBytes = Index{1} << 16;
constexpr std::uint8_t kRepaired = 0x80;
constexpr std::uint8_t kRefusal = 0x7f;

}  // namespace

DocumentStream::DocumentStream(const std::vector<Input>& inputs, const DocumentOptions& options)
    : inputs_(inputs), options_(options) {
  for (const Input& input : inputs) {
    num_bytes_total_ += input.num_bytes;
  }
}

std::optional<Document> DocumentStream::next() {
  while (true) {
    if (!reader_) {
      if (num_opened_ == inputs_.size()) {
        return std::nullopt;
      }
      reader_.emplace(inputs_[num_opened_++], options_);
    }
    if (std::optional<Document> document = reader_->next()) {
      document->number = num_documents_++;
      return document;
    }
    num_bytes_closed_ += reader_->num_bytes_read();
    num_broken_closed_ += reader_->num_broken_lines();
    reader_.reset();
  }
}

std::vector<Document> DocumentStream::next_batch() {
  std::vector<Document> documents;
  for (std::size_t num_bytes = 0; num_bytes < kBatchBytes && documents.size() < kBatchDocuments;) {
    std::optional<Document> document = next();
    if (!document) {
      break;
    }
    num_bytes += document->text.size() + document->conversation.size();
    documents.push_back(std::move(*document));
  }
  return documents;
}

Index DocumentStream::num_bytes_read() const {
  return num_bytes_closed_ + (reader_ ? reader_->num_bytes_read() : 0);
}

Index DocumentStream::num_broken_lines() const {
  return num_broken_closed_ + (reader_ ? reader_->num_broken_lines() : 0);
}

void Decisions::add(std::optional<Refusal> refusal, bool was_repaired) {
  const auto number = static_cast<std::uint8_t>(refusal ? static_cast<int>(*refusal) + 1 : 0);
  const auto decision =
      std::byte{static_cast<std::uint8_t>(number | (was_repaired ? kRepaired : 0))};
  file_.append(std::span(&decision, 1));
}

std::uint8_t Decisions::at(Index document) const {
  if (document < window_begin_ || document >= window_begin_ + to_index(window_.size())) {
    window_begin_ = document;
    window_.resize(to_size(std::min(kWindowBytes, size() - document)));
    file_.read(window_begin_, window_);
  }
  return std::to_integer<std::uint8_t>(window_[to_size(document - window_begin_)]);
}

bool Decisions::is_kept(Index document) const {
  return (at(document) & kRefusal) == 0;
}

Decisions::Counts Decisions::count() const {
  Counts counts;
  counts.documents = size();
  counts.refused.resize(std::size(kRefusals));
  for (Index document = 0; document < size(); ++document) {
    const std::uint8_t decision = at(document);
    const unsigned refusal = decision & kRefusal;
    if (refusal == 0) {
      ++counts.kept;
      counts.repaired += (decision & kRepaired) != 0 ? 1 : 0;
    } else {
      ++counts.refused.at(refusal - 1);
    }
  }
  return counts;
}

void for_each_kept_batch(DocumentStream& stream,
                         const Decisions& decisions,
                         Index first,
                         const std::function<bool(std::vector<Document>& documents)>& take) {
  while (true) {
    std::vector<Document> documents = stream.next_batch();
    if (documents.empty()) {
      return;
    }
    if (documents.back().number >= decisions.size()) {
      fail(ErrorCode::InvalidArgument, documents.back().place, ": found more documents than the ",
           decisions.size(), " that were there before: the inputs have changed meanwhile");
    }
    std::erase_if(documents, [&](const Document& document) {
      return document.number < first || !decisions.is_kept(document.number);
    });
    if (!take(documents)) {
      return;
    }
  }
}

}  // namespace fathom::data
