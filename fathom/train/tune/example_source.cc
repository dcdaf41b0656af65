#include "fathom/train/tune/example_source.h"

#include <limits>
#include <numeric>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_field.h"
#include "fathom/train/data/hash.h"

namespace fathom::tune {
namespace {

constexpr const char* kState = "state of the examples";

std::vector<std::uint32_t> all_of(std::size_t count) {
  if (count == 0) {
    fail(ErrorCode::InvalidArgument, "examples: found none, expected at least one");
  }
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0U);
  return numbers;
}

std::string stream_of(const std::vector<Example>& examples, const ExampleSourceOptions& options) {
  std::string text = std::to_string(options.batch_tokens) + " " + std::to_string(options.shuffles) +
                     " " + std::to_string(options.seed);
  for (const Example& example : examples) {
    text += "\n";
    for (const Piece& piece : example.pieces) {
      text += data::to_hex(data::hash128(std::as_bytes(std::span(piece.tokens)))) +
              data::to_hex(data::hash128(std::as_bytes(std::span(piece.weights))));
    }
  }
  return data::to_hex(data::hash128(text));
}

void append(const Example& example, data::Batch& batch) {
  for (const Piece& piece : example.pieces) {
    FATHOM_CHECK(piece.num_rows() >= 1 && piece.weights.size() == piece.tokens.size());
    batch.tokens.insert(batch.tokens.end(), piece.tokens.begin(), piece.tokens.end() - 1);
    batch.targets.insert(batch.targets.end(), piece.tokens.begin() + 1, piece.tokens.end());
    batch.loss_weights.insert(batch.loss_weights.end(), piece.weights.begin() + 1,
                              piece.weights.end());
    batch.piece_tokens.push_back(piece.num_rows());
  }
}

}  // namespace

data::Batch batch_of(const Example& example) {
  data::Batch batch;
  append(example, batch);
  return batch;
}

ExampleSource::ExampleSource(std::vector<Example> examples, const ExampleSourceOptions& options)
    : examples_(std::move(examples)),
      options_(options),
      order_(all_of(examples_.size()), options.seed),
      stream_(stream_of(examples_, options)) {
  order_.set_epoch(0);
}

Index ExampleSource::next_example() const {
  return options_.shuffles ? order_.at(place_) : place_;
}

void ExampleSource::advance() {
  if (++place_ == order_.size()) {
    place_ = 0;
    order_.set_epoch(order_.epoch() + 1);
  }
}

data::Batch ExampleSource::next() {
  data::Batch batch;
  append(examples_[to_size(next_example())], batch);
  advance();
  for (;;) {
    const Example& example = examples_[to_size(next_example())];
    if (batch.num_tokens() + example.num_rows() > options_.batch_tokens) {
      return batch;
    }
    append(example, batch);
    advance();
  }
}

Index ExampleSource::batches_per_epoch() const {
  Index batches = 0;
  Index rows = std::numeric_limits<Index>::max() / 2;
  for (const Example& example : examples_) {
    rows += example.num_rows();
    if (rows > options_.batch_tokens) {
      ++batches;
      rows = example.num_rows();
    }
  }
  return batches;
}

std::string ExampleSource::state() const {
  return "{\"stream\": \"" + stream_ + "\", \"epoch\": " + std::to_string(order_.epoch()) +
         ", \"next\": " + std::to_string(place_) + "}";
}

void ExampleSource::restore(const std::string& state) {
  const text::JsonValue root = text::parse_json(state, kState);
  const text::JsonField field(&root, kState);
  if (field.member("stream").text_or("") != stream_) {
    fail(ErrorCode::InvalidArgument, kState, ": stream: found ",
         field.member("stream").text_or("nothing"), ", expected ", stream_,
         ": it belongs to other examples, lengths or another seed");
  }
  const auto number = [&](const char* name, Index most) {
    const auto found = field.member(name).integer(0, most);
    if (!found) {
      field.member(name).refuse("a number");
    }
    return *found;
  };
  order_.set_epoch(number("epoch", Index{1} << 40));
  place_ = number("next", order_.size() - 1);
}

}  // namespace fathom::tune
