// Input files taken apart into documents.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/train/data/byte_source.h"

namespace fathom::data {

enum class InputKind {
  Text,   // .txt
  Lines,  // .jsonl, .ndjson: an object per line
};

struct Input {
  std::filesystem::path path;
  InputKind kind = InputKind::Text;
  Index num_bytes = 0;
};

// The files that paths name: each file itself, and in a folder, however deep, all that documents
// can be read from, by name, but what is hidden (".x"). Throws InvalidArgument for a path that is
// no such file, for a folder without one, for one file twice; Unsupported for Parquet, with the
// command that converts it; Io.
std::vector<Input> list_inputs(const std::vector<std::filesystem::path>& paths);

// Where a text file's documents begin.
enum class TextSplit {
  File,        // all of it is one
  BlankLines,  // after every line that is empty or blank
  Pattern,     // with every line that matches
};

struct DocumentOptions {
  TextSplit split = TextSplit::File;
  std::string pattern = {};           // POSIX extended regular expression
  std::string text_field = "text";    // of an object in a .jsonl
  Index most_bytes = Index{1} << 26;  // longer documents are refused
  bool skips_broken_lines = false;    // lines of a .jsonl that hold no document
};

struct Document {
  // Well-formed UTF-8. Of a conversation what its messages say, one after another.
  std::string text;
  std::string conversation = {};  // JSON; empty for a text
  std::string place = {};         // "FILE: line 7", for messages
  Index number = 0;               // among all documents of a build
  bool was_repaired = false;      // bytes that are no UTF-8 became U+FFFD
  bool is_too_long = false;       // and `text` only its beginning
};

// Reads one input document by document. Text files lose a byte order mark, carriage returns in
// front of line ends, blank lines at the front and white space at the end; what is left empty is no
// document.
class DocumentReader {
 public:
  // Throws Io; InvalidArgument for a pattern that is none.
  DocumentReader(const Input& input, const DocumentOptions& options);
  ~DocumentReader();

  // Nothing at the end. Throws Io; InvalidArgument for a line without a document, naming it, unless
  // such are skipped.
  std::optional<Document> next();

  Index num_bytes_read() const { return source_->num_bytes_read(); }
  Index num_broken_lines() const { return num_broken_lines_; }

 private:
  class Pattern;
  // The next line without its end; at most most_bytes of it.
  bool read_line();
  void take_rest_of_line(std::string_view found);
  std::optional<Document> next_text();
  std::optional<Document> next_json();
  bool begins_document() const;
  Document document_of_line();
  std::string place() const;

  std::string name_;
  InputKind kind_;
  DocumentOptions options_;
  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<Pattern> pattern_;
  std::vector<std::byte> buffer_;
  Index begin_ = 0;  // of what was not looked at in buffer_
  Index end_ = 0;
  std::string line_;
  bool is_line_cut_ = false;
  bool has_line_ = false;  // line_ belongs to the next document
  Index line_number_ = 0;
  Index num_broken_lines_ = 0;
};

}  // namespace fathom::data
