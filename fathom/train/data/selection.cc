#include "fathom/train/data/selection.h"

#include <span>
#include <string>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_text.h"
#include "fathom/train/data/words.h"

namespace fathom::data {
namespace {

constexpr Index kCheckpointBytes = Index{64} << 20;  // of inputs

}  // namespace

Selection::Selection(const BuildOptions& options,
                     const std::filesystem::path& folder,
                     BuildState& state)
    : options_(options),
      state_(state),
      decisions_(folder / "decisions", state.num_decided),
      hits_(folder / kHitsFile, state.hit_bytes) {
  for (const std::filesystem::path& file : options.evaluation_files) {
    contamination_.add_file(file);
  }
  if (options.drops_exact_duplicates) {
    exact_.emplace(folder / "texts", state.num_texts);
  }
  if (options.near_threshold) {
    near_.emplace(folder / "signatures", state.num_signatures, *options.near_threshold);
  }
}

void Selection::run(platform::ThreadPool& pool,
                    const BuildHooks& hooks,
                    const std::function<void()>& save) {
  if (state_.is_selected) {
    return;
  }
  DocumentStream stream(options_.inputs, options_.documents);
  Index next_checkpoint = 0;
  while (true) {
    std::vector<Document> documents = stream.next_batch();
    report(hooks, BuildStage::Select, stream.num_bytes_read(), stream.num_bytes_total());
    if (documents.empty()) {
      break;
    }
    std::erase_if(documents, [&](const Document& document) {
      return document.number < state_.num_decided;  // before a build was cut
    });
    std::vector<Opinion> opinions(documents.size());
    pool.parallel_for(to_index(documents.size()), [&](Index i, int) {
      opinions[to_size(i)] = form_opinion(documents[to_size(i)]);
    });
    for (std::size_t i = 0; i < documents.size(); ++i) {
      decisions_.add(decide(documents[i], opinions[i]), documents[i].was_repaired);
    }
    if (!documents.empty() && stream.num_bytes_read() >= next_checkpoint) {
      next_checkpoint = stream.num_bytes_read() + kCheckpointBytes;
      checkpoint();
      save();
    }
  }
  state_.is_selected = true;
  state_.num_broken_lines = stream.num_broken_lines();
  checkpoint();
  save();
}

void Selection::checkpoint() {
  decisions_.sync();
  hits_.sync();
  state_.num_decided = decisions_.size();
  state_.hit_bytes = hits_.num_bytes();
  if (exact_) {
    exact_->sync();
    state_.num_texts = exact_->num_texts();
  }
  if (near_) {
    near_->sync();
    state_.num_signatures = near_->num_texts();
  }
}

Selection::Opinion Selection::form_opinion(const Document& document) const {
  Opinion opinion;
  if (document.was_repaired && !options_.repairs_utf8) {
    opinion.refusal = Refusal::InvalidUtf8;
  } else if (document.is_too_long) {
    opinion.refusal = Refusal::TooLong;
  } else {
    opinion.refusal = judge(document.text, options_.quality);
  }
  if (opinion.refusal) {
    return opinion;
  }
  if (near_ || contamination_.num_items() > 0) {
    std::vector<std::uint64_t> words;
    append_word_hashes(document.text, words);
    opinion.items = contamination_.find(words);
    if (near_) {
      opinion.signature = signature_of(words);
    }
  }
  if (exact_) {
    // Two conversations of the same words are not the same when others say them.
    opinion.text_hash =
        hash128(squeezed(document.conversation.empty() ? document.text : document.conversation));
  }
  return opinion;
}

std::optional<Refusal> Selection::decide(const Document& document, const Opinion& opinion) {
  if (opinion.refusal) {
    return opinion.refusal;
  }
  if (!opinion.items.empty()) {
    note_hit(document, opinion.items);
    return Refusal::Contaminated;
  }
  if (exact_ && !exact_->add(opinion.text_hash)) {
    return Refusal::ExactDuplicate;
  }
  if (near_ && !near_->add(opinion.signature)) {
    return Refusal::NearDuplicate;
  }
  return std::nullopt;
}

void Selection::note_hit(const Document& document, const std::vector<Index>& items) {
  std::string line =
      fmt::format("{{\"document\":{},\"items\":[", text::json_string(document.place));
  for (const Index idx : items) {
    const Contamination::Item& item = contamination_.item(idx);
    const std::string file = contamination_.files()[to_size(item.file_idx)].string();
    line += fmt::format("{}{{\"file\":{},\"line\":{}}}", idx == items.front() ? "" : ",",
                        text::json_string(file), item.line);
  }
  line += "]}\n";
  hits_.append(std::as_bytes(std::span(line)));
}

}  // namespace fathom::data
