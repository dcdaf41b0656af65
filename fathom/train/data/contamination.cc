#include "fathom/train/data/contamination.h"

#include <algorithm>

#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_value.h"
#include "fathom/model/text/utf8.h"
#include "fathom/train/data/byte_source.h"
#include "fathom/train/data/words.h"

namespace fathom::data {
namespace {

constexpr std::size_t kRun = to_size(kContaminationWords);

std::string read_text(const std::filesystem::path& path) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const auto source = open_bytes(path);
  std::string text;
  while (true) {
    const std::size_t size = text.size();
    text.resize(size + kPiece);
    const Index count = source->read(std::as_writable_bytes(std::span(text).subspan(size)));
    text.resize(size + to_size(count));
    if (count == 0) {
      return formats::is_utf8(text) ? text : text::repair_utf8(text);
    }
  }
}

void append_strings(const text::JsonValue& value, std::string& text) {
  if (value.kind == text::JsonValue::Kind::String) {
    text += value.text;
    text += '\n';
  }
  for (const text::JsonValue& item : value.items) {
    append_strings(item, text);
  }
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\v\f") == std::string_view::npos;
}

}  // namespace

void Contamination::add_file(const std::filesystem::path& path) {
  const auto stem = path.extension() == ".gz" ? path.stem() : path;
  const bool is_json = stem.extension() == ".jsonl" || stem.extension() == ".ndjson";
  const std::string text = read_text(path);
  files_.push_back(path);
  std::string item;
  Index first_line = 0;
  Index number = 0;
  const auto finish_item = [&] {
    if (!item.empty()) {
      add_item(item, first_line);
      item.clear();
    }
  };
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    ++number;
    if (is_blank(line)) {
      finish_item();
      continue;
    }
    first_line = item.empty() ? number : first_line;
    if (is_json) {
      const std::string place = path.string() + ": line " + std::to_string(number);
      append_strings(text::parse_json(line, place), item);
      finish_item();
    } else {
      item += line;
      item += '\n';
    }
  }
  finish_item();
}

void Contamination::add_item(std::string_view text, Index line) {
  std::vector<std::uint64_t> words;
  append_word_hashes(text, words);
  const auto item = static_cast<std::uint32_t>(items_.size());
  items_.push_back({.file_idx = to_index(files_.size()) - 1, .line = line});
  num_short_items_ += words.size() < kRun ? 1 : 0;
  for (std::size_t i = 0; i + kRun <= words.size(); ++i) {
    runs_.emplace(hash_of_words(std::span(words).subspan(i, kRun)), item);
  }
}

std::vector<Index> Contamination::find(std::span<const std::uint64_t> words) const {
  std::vector<Index> found;
  for (std::size_t i = 0; !runs_.empty() && i + kRun <= words.size(); ++i) {
    const auto [begin, end] = runs_.equal_range(hash_of_words(words.subspan(i, kRun)));
    for (auto run = begin; run != end; ++run) {
      found.push_back(run->second);
    }
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace fathom::data
