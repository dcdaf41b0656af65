// Batches out of examples: whole ones, one after another, as many as fit.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fathom/train/data/batch.h"
#include "fathom/train/data/document_order.h"
#include "fathom/train/tune/example.h"

namespace fathom::tune {

struct ExampleSourceOptions {
  // Rows of a batch at most; an example with more is a batch of its own. 0: every example is.
  Index batch_tokens = 0;
  bool shuffles = true;  // anew in every epoch; otherwise in the order they are given
  std::uint64_t seed = 0;
};

// The rows of an example as a batch of its own: every piece but its last token.
data::Batch batch_of(const Example& example);

class ExampleSource final : public data::BatchSource {
 public:
  // Throws InvalidArgument where there is no example.
  ExampleSource(std::vector<Example> examples, const ExampleSourceOptions& options);

  data::Batch next() override;
  std::string state() const override;
  void restore(const std::string& state) override;

  Index num_examples() const { return to_index(examples_.size()); }
  // Batches until every example has come once, the last one filled from the next epoch.
  Index batches_per_epoch() const;

 private:
  Index next_example() const;
  void advance();

  std::vector<Example> examples_;
  ExampleSourceOptions options_;
  data::DocumentOrder order_;
  Index place_ = 0;     // in the order
  std::string stream_;  // hash of examples and options
};

}  // namespace fathom::tune
