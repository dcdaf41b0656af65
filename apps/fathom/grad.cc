// fathom grad: the loss of a token sequence and its gradient by every parameter.
#include <filesystem>
#include <memory>
#include <system_error>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/safetensors.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/gradients.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

struct GradOptions {
  RunOptions run;
  std::string out;
};

// Before the work is done rather than after it.
void check_out(const std::string& out) {
  const std::filesystem::path path(out);
  const std::filesystem::path folder =
      path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    fail(ErrorCode::Io, "create ", out, ": no folder ", folder.string());
  }
  if (std::filesystem::is_directory(path, ignored)) {
    fail(ErrorCode::Io, "create ", out, ": Is a directory");
  }
}

formats::SafetensorsEntry entry_of(const std::string& name, const std::vector<Index>& shape) {
  return {name, formats::SafetensorsDType::F32, shape, 0, 0};
}

void write_gradients(const GradOptions& options,
                     const LossGradients& gradients,
                     InterruptWatch& interrupts) {
  const auto loss = static_cast<float>(gradients.loss);
  std::vector<formats::SafetensorsEntry> entries = {entry_of("loss", {})};
  std::vector<std::span<const float>> values = {{&loss, 1}};
  for (const TensorGradient& tensor : gradients.tensors) {
    entries.push_back(entry_of(tensor.name, tensor.shape));
    values.emplace_back(tensor.values);
  }
  const std::string header = formats::make_safetensors_header(
      entries,
      {{"format", "pt"}, {"numerics", options.run.numerics}, {"backend", gradients.backend}});
  Index num_bytes = to_index(header.size());
  for (const auto& each : values) {
    num_bytes += to_index(each.size_bytes());
  }
  std::unique_ptr<platform::OutputFile> file;
  interrupts.change_unfinished([&] {
    file = std::make_unique<platform::OutputFile>(options.out, num_bytes);
    return file->temporary_path();
  });
  file->write(0, std::as_bytes(std::span(header)));
  Index offset = to_index(header.size());
  for (const auto& each : values) {
    file->write(offset, std::as_bytes(each));
    offset += to_index(each.size_bytes());
  }
  file->sync();
  interrupts.change_unfinished([&] {
    file->commit();
    return std::filesystem::path();
  });
}

void run_grad(const GradOptions& options, InterruptWatch& interrupts) {
  const std::vector<std::int64_t> ids = read_tokens(options.run.tokens);
  check_out(options.out);
  const LossGradients gradients = compute_gradients(options.run.model, ids,
                                                    {.num_threads = options.run.num_threads,
                                                     .backend = options.run.backend,
                                                     .numerics = options.run.numerics});
  write_gradients(options, gradients, interrupts);
  Report report;
  report.add("loss", gradients.loss);
  report.print(true);  // for a program to read, also without --json
}

}  // namespace

Command add_grad(CLI::App& program) {
  auto options = std::make_shared<GradOptions>();
  CLI::App* command = program.add_subcommand(
      "grad",
      "The loss of a token sequence and its gradient by every parameter (docs/training.md)");
  command->add_option("model", options->run.model, "Checkpoint: a folder, .safetensors or .gguf")
      ->required()
      ->type_name("MODEL");
  command
      ->add_option("--tokens", options->run.tokens,
                   "Token ids: a 1-D int32 or int64 array, or a list; at least 2")
      ->required()
      ->type_name("FILE.npy|1,2,3");
  command
      ->add_option("--out", options->out,
                   "The file to write: float32 tensors under the checkpoint's names, and \"loss\"")
      ->required()
      ->type_name("G.safetensors");
  add_threads_option(*command, options->run.num_threads);
  command->add_option("--backend", options->run.backend, "What computes")
      ->capture_default_str()
      ->type_name("reference[:f64]|cpu[:ISA]");
  command
      ->add_option("--numerics", options->run.numerics,
                   "fp32 throughout, or the published rounding, passed straight through")
      ->capture_default_str()
      ->type_name("high|official");
  add_json_option(*command, options->run.json);
  return {command, [options](InterruptWatch& interrupts) { run_grad(*options, interrupts); }};
}

}  // namespace fathom::app
