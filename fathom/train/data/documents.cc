#include "fathom/train/data/documents.h"

#include <regex.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_field.h"
#include "fathom/model/text/utf8.h"

namespace fathom::data {
namespace {

namespace fs = std::filesystem;
using text::JsonField;
using text::JsonValue;

constexpr Index kBufferBytes = Index{1} << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kSpaces = " \t\r\n\v\f";

struct KindRow {
  std::string_view extension;
  InputKind kind;
};
constexpr KindRow kKinds[] = {
    {".txt", InputKind::Text}, {".jsonl", InputKind::Lines}, {".ndjson", InputKind::Lines}};

std::optional<InputKind> kind_of(fs::path path) {
  if (path.extension() == ".gz") {
    path = path.stem();
  }
  const auto* const row = std::find_if(
      std::begin(kKinds), std::end(kKinds),
      [&](const KindRow& each) { return path.extension().string() == each.extension; });
  return row == std::end(kKinds) ? std::nullopt : std::optional(row->kind);
}

void refuse_parquet(const fs::path& path) {
  if (path.extension() == ".parquet") {
    const std::string name = path.string();
    fail(ErrorCode::Unsupported, name, ": Parquet is not read here; convert it with: ",
         "python3 -c \"import json, pyarrow.parquet as p; [print(json.dumps(row, default=str)) for "
         "batch in p.ParquetFile('",
         name, "').iter_batches() for row in batch.to_pylist()]\" > ",
         fs::path(path).replace_extension(".jsonl").string());
  }
}

void add_folder(const fs::path& folder, std::vector<Input>& inputs) {
  std::vector<fs::path> files;
  for (auto place = fs::recursive_directory_iterator(folder); place != fs::end(place); ++place) {
    const fs::directory_entry& entry = *place;
    if (entry.path().filename().string().starts_with('.')) {
      place.disable_recursion_pending();
      continue;
    }
    if (entry.is_regular_file() && !entry.is_symlink()) {
      refuse_parquet(entry.path());
      if (kind_of(entry.path())) {
        files.push_back(entry.path());
      }
    }
  }
  if (files.empty()) {
    fail(ErrorCode::InvalidArgument, folder.string(),
         ": found no file to read, expected .txt, .jsonl or .ndjson, or one of them with .gz");
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    inputs.push_back({.path = file,
                      .kind = *kind_of(file),
                      .num_bytes = static_cast<Index>(fs::file_size(file))});
  }
}

// Every string of a message's content, which may be a list of parts.
void append_content(const JsonField& content, std::string& text) {
  if (content.is(JsonField::Kind::String)) {
    text += content.value().text;
    text += '\n';
  } else if (content.is(JsonField::Kind::Array)) {
    for (Index i = 0; i < content.size(); ++i) {
      append_content(content.item(i).member("text"), text);
    }
  }
}

std::string text_of_messages(const JsonField& messages) {
  std::string text;
  for (Index i = 0; i < messages.size(); ++i) {
    append_content(messages.item(i).member("reasoning_content"), text);
    append_content(messages.item(i).member("content"), text);
  }
  return text;
}

void trim(std::string& text) {
  text.erase(std::min(text.find_last_not_of(kSpaces) + 1, text.size()));
  const std::size_t first = text.find_first_not_of(kSpaces);
  const std::size_t line = first == std::string::npos ? first : text.rfind('\n', first);
  text.erase(0, line == std::string::npos ? 0 : line + 1);
}

}  // namespace

std::vector<Input> list_inputs(const std::vector<fs::path>& paths) {
  std::vector<Input> inputs;
  for (const fs::path& path : paths) {
    if (fs::is_directory(path)) {
      add_folder(path, inputs);
      continue;
    }
    if (!fs::exists(path)) {
      fail(ErrorCode::Io, path.string(), ": found no such file or folder");
    }
    refuse_parquet(path);
    const std::optional<InputKind> kind = kind_of(path);
    if (!kind) {
      fail(ErrorCode::InvalidArgument, path.string(),
           ": expected a file named .txt, .jsonl or .ndjson, or one of them with .gz");
    }
    inputs.push_back(
        {.path = path, .kind = *kind, .num_bytes = static_cast<Index>(fs::file_size(path))});
  }
  std::set<fs::path> seen;
  for (const Input& input : inputs) {
    if (!seen.insert(fs::weakly_canonical(input.path)).second) {
      fail(ErrorCode::InvalidArgument, input.path.string(), ": found twice among the inputs");
    }
  }
  return inputs;
}

class DocumentReader::Pattern {
 public:
  explicit Pattern(const std::string& pattern) {
    const int status = regcomp(&compiled_, pattern.c_str(), REG_EXTENDED | REG_NOSUB);
    if (status != 0) {
      char reason[200];
      regerror(status, &compiled_, reason, sizeof reason);
      fail(ErrorCode::InvalidArgument, "the pattern ", formats::quote(pattern), ": ", reason);
    }
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool matches(const std::string& line) const {
    return regexec(&compiled_, line.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t compiled_{};
};

DocumentReader::DocumentReader(const Input& input, const DocumentOptions& options)
    : name_(input.path.string()),
      kind_(input.kind),
      options_(options),
      source_(open_bytes(input.path)),
      buffer_(to_size(kBufferBytes)) {
  if (options.split == TextSplit::Pattern) {
    pattern_ = std::make_unique<Pattern>(options.pattern);
  }
}

DocumentReader::~DocumentReader() = default;

std::optional<Document> DocumentReader::next() {
  return kind_ == InputKind::Text ? next_text() : next_json();
}

void DocumentReader::take_rest_of_line(std::string_view found) {
  const std::size_t room = to_size(options_.most_bytes) - line_.size();
  is_line_cut_ = is_line_cut_ || found.size() > room;
  line_ += found.substr(0, room);
}

bool DocumentReader::read_line() {
  line_.clear();
  is_line_cut_ = false;
  bool has_any = false;
  while (true) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = source_->read(buffer_);
    }
    if (begin_ == end_) {
      break;
    }
    has_any = true;
    const std::string_view rest(reinterpret_cast<const char*>(buffer_.data()) + begin_,
                                to_size(end_ - begin_));
    const std::size_t size = rest.find('\n');
    take_rest_of_line(rest.substr(0, size));
    begin_ += to_index(std::min(size, rest.size()));
    if (size != std::string_view::npos) {
      ++begin_;
      break;
    }
  }
  if (has_any && line_.ends_with('\r')) {
    line_.pop_back();
  }
  if (has_any && ++line_number_ == 1 && line_.starts_with(kByteOrderMark)) {
    line_.erase(0, kByteOrderMark.size());
  }
  return has_any;
}

bool DocumentReader::begins_document() const {
  switch (options_.split) {
    case TextSplit::File:
      return false;
    case TextSplit::BlankLines:
      return line_.find_first_not_of(kSpaces) == std::string::npos;
    case TextSplit::Pattern:
      return pattern_->matches(line_);
  }
  return false;
}

std::string DocumentReader::place() const {
  return name_ + ": line " + std::to_string(line_number_);
}

std::optional<Document> DocumentReader::next_text() {
  while (has_line_ || read_line()) {
    Document document{.text = std::exchange(line_, {}), .place = place()};
    document.is_too_long = is_line_cut_;
    has_line_ = false;
    while (read_line()) {
      if (begins_document()) {
        has_line_ = true;
        break;
      }
      const std::size_t room = to_size(options_.most_bytes) - document.text.size();
      document.is_too_long = document.is_too_long || is_line_cut_ || line_.size() + 1 > room;
      if (!document.is_too_long) {
        document.text += '\n';
        document.text += line_;
      }
    }
    if (!formats::is_utf8(document.text)) {
      document.text = text::repair_utf8(document.text);
      document.was_repaired = true;
    }
    trim(document.text);
    if (!document.text.empty()) {
      return document;
    }
  }
  return std::nullopt;
}

std::optional<Document> DocumentReader::next_json() {
  while (read_line()) {
    if (line_.find_first_not_of(kSpaces) == std::string::npos) {
      continue;
    }
    try {
      return document_of_line();
    } catch (const Error& error) {
      if (!options_.skips_broken_lines) {
        const std::string message = error.what();
        throw Error(error.code(), message.starts_with(name_) ? message : place() + ": " + message);
      }
      ++num_broken_lines_;
    }
  }
  return std::nullopt;
}

Document DocumentReader::document_of_line() {
  Document document{.text = {}, .place = place()};
  if (is_line_cut_) {
    document.is_too_long = true;
    return document;
  }
  if (!formats::is_utf8(line_)) {
    line_ = text::repair_utf8(line_);
    document.was_repaired = true;
  }
  const JsonValue root = text::parse_json(line_, place());
  const JsonField field(&root, "");
  if (root.kind != JsonValue::Kind::Object) {
    fail(ErrorCode::InvalidArgument, "expected an object, found ", formats::quote(line_));
  }
  const JsonField found = field.member(options_.text_field);
  if (found.is(JsonField::Kind::String)) {
    document.text = found.value().text;
    return document;
  }
  const JsonField messages = field.member("messages");
  if (messages.is(JsonField::Kind::Array)) {
    document.text = text_of_messages(messages);
    document.conversation = line_;
    return document;
  }
  fail(ErrorCode::InvalidArgument, "expected a string ", formats::quote(options_.text_field),
       " or a list \"messages\", found ", formats::quote(line_));
}

}  // namespace fathom::data
