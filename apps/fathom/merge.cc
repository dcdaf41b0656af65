// fathom merge: an adapter folded into the weights of its model, and what rounding loses by that.
#include "fathom/model/weights/merge.h"

#include <algorithm>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "fathom/adapters.h"
#include "fathom/base/platform/clock.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

struct MergeCommand {
  std::string model;
  std::string adapter;
  std::string out;
  int num_threads = 0;
  bool json = false;
};

void print_table(const std::vector<weights::MergedTensor>& merged) {
  std::size_t width = 0;
  for (const weights::MergedTensor& tensor : merged) {
    width = std::max(width, tensor.name.size());
  }
  std::string text =
      fmt::format("{:<{}}  format  error / matrix  error / update\n", "tensor", width);
  for (const weights::MergedTensor& tensor : merged) {
    text += fmt::format("{:<{}}  {:<6}  {:14.2e}  {:14.2e}\n", tensor.name, width,
                        numeric::to_string(tensor.format), tensor.sums.relative_error(),
                        tensor.sums.error_of_update());
  }
  print_out(text + "\n");
}

void print_report(const MergeCommand& options,
                  const std::vector<weights::MergedTensor>& merged,
                  double seconds) {
  weights::MergeSums total;
  std::vector<std::string> names;
  std::vector<double> errors;
  std::vector<double> update_errors;
  for (const weights::MergedTensor& tensor : merged) {
    total.add(tensor.sums);
    names.push_back(tensor.name);
    errors.push_back(tensor.sums.relative_error());
    update_errors.push_back(tensor.sums.error_of_update());
  }
  Report report;
  report.add("out", options.out);
  report.add("tensors", to_index(merged.size()));
  report.add("relative_error", total.relative_error());
  report.add("error_of_update", total.error_of_update());
  if (options.json) {
    report.add("tensor_names", names);
    report.add("tensor_relative_errors", errors);
    report.add("tensor_errors_of_update", update_errors);
  } else {
    print_table(merged);
  }
  add_run_facts(report, seconds);
  report.print(options.json);
}

void run_merge(const MergeCommand& options, InterruptWatch& interrupts) {
  const auto start = platform::Clock::now();
  platform::ThreadPool pool({.num_threads = options.num_threads});
  const OpenedModel opened = open_model(options.model);
  const auto adapter = open_adapter(options.adapter, opened, show_warning);
  const OpenedModel checked = adapted(opened, adapter);
  interrupts.set_answer(InterruptWatch::Answer::FlagBoth);
  std::vector<weights::MergedTensor> merged;
  {
    constexpr double kGigabyte = 1e9;
    Progress progress("copy", 0, "GB", kGigabyte);
    merged = weights::merge_adapter(
        *opened.store, *adapter, options.out, pool, [&](Index done, Index total) {
          progress.set_total(total);
          progress.update(done);
          if (interrupts.is_interrupted()) {
            fail(ErrorCode::Interrupted, "interrupted: nothing was written");
          }
        });
  }
  print_report(options, merged, platform::seconds_since(start));
}

}  // namespace

Command add_merge(CLI::App& program) {
  auto options = std::make_shared<MergeCommand>();
  CLI::App* command = program.add_subcommand(
      "merge",
      "Fold a low-rank adapter (LoRA) into its model, in the model's own format, and say what "
      "rounding\n"
      "to it loses. The model is a checkpoint in safetensors: run, chat and serve put an adapter\n"
      "beside a GGUF file's weights with --lora.");
  command->add_option("model", options->model, "Checkpoint: a folder or .safetensors")
      ->required()
      ->type_name("MODEL");
  command->add_option("--lora", options->adapter, "Folder of the adapter")
      ->required()
      ->type_name("ADAPTER");
  command->add_option("--out", options->out, "A new folder, for a whole checkpoint")
      ->required()
      ->type_name("DIR");
  add_threads_option(*command, options->num_threads);
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { run_merge(*options, interrupts); }};
}

}  // namespace fathom::app
