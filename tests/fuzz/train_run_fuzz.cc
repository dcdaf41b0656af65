// Any bytes as a training run's checkpoint, what it remembers, and its metrics: refused with one
// line, or taken and written again as they are.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/train/loop/checkpoint.h"
#include "fathom/train/loop/run_report.h"
#include "fathom/train/loop/run_state.h"

namespace {

using namespace fathom::train;

template <typename Action>
void succeeds_or_refuses(const Action& action) {
  try {
    action();
  } catch (const fathom::Error& error) {
    if (error.code() != fathom::ErrorCode::InvalidCheckpoint ||
        std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  succeeds_or_refuses([&] {
    const CheckpointReader reader(std::as_bytes(std::span(text)), "fuzz");
    static_cast<void>(reader.fact("run"));
  });
  succeeds_or_refuses([&] {
    const RunState state = parse_run_state(text, "fuzz");
    if (!(parse_run_state(print_run_state(state), "fuzz") == state)) {
      std::abort();
    }
  });
  const fathom::chart::Report report = make_run_report(parse_metrics(text), "fuzz");
  if (fathom::chart::to_html(report).empty()) {
    std::abort();
  }
  return 0;
}
