#include "apps/fathom/probe_models.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/weights/synth.h"
#include "fathom/model/weights/synth_presets.h"
#include "fathom/study/bench/measure.h"

#include "apps/fathom/bench_model.h"
#include "apps/fathom/file_storage.h"
#include "apps/fathom/interrupt.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

constexpr Index kRepetitions = 2;
constexpr Index kDecodeSteps = 16;
constexpr Index kFewDecodeSteps = 8;    // where a step takes long
constexpr Index kManyDecodeSteps = 64;  // where it takes a millisecond
constexpr int kPasses = 2;  // at each moment: their mean counts, and a minute is soon over

config::ModelConfig preset(std::string_view name) {
  const auto found = weights::find_synth_preset(name);
  FATHOM_CHECK(found.has_value());
  return found->config;
}

bench::Matrix cells(std::vector<Index> prompts, Index context, Index steps = kDecodeSteps) {
  return {.prompts = std::move(prompts),
          .decode_tokens = steps,
          .contexts = {0, context},
          .batches = {1, 4}};
}

// One layer of each kind of V4-Flash, as wide as it is, with a part of its experts and vocabulary.
config::ModelConfig flash_shapes() {
  auto flash = config::find_builtin_config("v4-flash");
  FATHOM_CHECK(flash.has_value());
  config::ModelConfig model = std::move(flash->model);
  const std::vector<config::LayerConfig> all = model.layers;
  model.layers = {all[0], all[2], all[3]};
  model.mtp_layers.clear();
  model.num_hash_layers = 2;
  model.num_experts = 12;
  model.index_top_k = 48;  // so that a short context has blocks to choose among
  model.vocab_size = 4096;
  return model;
}

config::ModelConfig narrow(Index num_experts) {
  config::ModelConfig model = preset("small");
  model.hidden_size = 768;
  model.layers.resize(6);
  model.num_heads = 12;
  model.query_rank = 384;
  model.num_experts = num_experts;
  model.num_experts_per_token = 4;
  model.expert_hidden = 384;
  return model;
}

config::ModelConfig flat() {
  config::ModelConfig model = preset("tiny");
  model.mtp_layers.clear();
  model.hidden_size = 320;
  model.expert_hidden = 192;
  model.num_experts = 12;
  model.num_experts_per_token = 3;
  return model;
}

config::ModelConfig grouped() {
  config::ModelConfig model = preset("llama-tiny");
  model.hidden_size = 512;
  model.num_heads = 8;
  model.head_dim = 64;
  model.rope_dim = 64;
  model.mlp_hidden = 1536;
  model.vocab_size = 8192;
  const config::LayerConfig layer = model.layers.front();
  model.layers.assign(12, layer);
  return model;
}

// A file or a folder for as long as the object lives; an interrupt removes it too.
class ModelFiles {
 public:
  ModelFiles(const ProbeModel& model,
             const fs::path& folder,
             int num_threads,
             InterruptWatch& interrupts)
      : path_(folder /
              ("fathom-probe-" + std::to_string(getpid()) + (model.is_official ? "" : ".gguf"))),
        interrupts_(interrupts) {
    platform::ThreadPool pool({.num_threads = num_threads});
    interrupts_.set_answer(InterruptWatch::Answer::FlagBoth);
    weights::write_synthetic(
        model.config, model.storage, names_of(model.config.family), path_,
        {.overwrite = true,
         .progress = [&](Index, Index) { return !interrupts_.is_interrupted(); }},
        pool);
    interrupts_.change_unfinished([&] { return path_; });
    interrupts_.set_answer(InterruptWatch::Answer::EndProcess);
  }
  ~ModelFiles() {
    interrupts_.change_unfinished([&] {
      std::error_code ignored;
      fs::remove_all(path_, ignored);
      return fs::path();
    });
  }
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  InterruptWatch& interrupts_;
};

}  // namespace

std::vector<ProbeModel> probe_models() {
  const config::StoragePlan fp4 = config::storage_plan_from_name("fp4");
  const config::StoragePlan bf16 = config::storage_plan_from_name("bf16");
  const config::StoragePlan fp8 = config::storage_plan_from_name("fp8");
  // Packed weights that no cache holds are those of `flash-shapes`, plain ones of `many-bf16`.
  return {
      {"flash-shapes", flash_shapes(), fp4, false, cells({32, 96, 192}, 256, kFewDecodeSteps)},
      {"narrow", narrow(24), fp4, false, cells({32, 96, 384}, 1536)},
      {"narrow-official", narrow(24), fp4, true, cells({32, 96, 384}, 1536)},
      {"many-bf16", narrow(64), bf16, false, cells({32, 96, 384}, 1536)},
      {"flat", flat(), fp4, false, cells({32, 96, 384, 1024}, 2048, kManyDecodeSteps)},
      {"flat-bf16", flat(), bf16, false, cells({32, 96, 384}, 1536, kManyDecodeSteps)},
      {"grouped", grouped(), bf16, false, cells({32, 96, 384, 1024}, 2048, kManyDecodeSteps)},
      {"grouped-int8", grouped(), fp8, false, cells({32, 96, 384, 1024}, 2048, kManyDecodeSteps)}};
}

plan::BenchRecord measure_probe_model(const ProbeModel& model,
                                      const fs::path& folder,
                                      int num_threads,
                                      const runtime::ReadBuffer& buffer,
                                      InterruptWatch& interrupts) {
  const ModelFiles files(model, folder, num_threads, interrupts);
  plan::BenchRecord record;
  record.name = model.name;
  record.config = model.config;
  OpenedModel opened = open_model(files.path());
  record.storage = storage_of_files(opened);
  const ModelCosts costs(opened);
  ModelOptions options{.num_threads = num_threads, .numerics = "fast", .raw_tokens = 0};
  ModelSubject subject(
      Model::open(files.path().string(), options), costs,
      {.prefill_bound = bench::Bound::None, .buffer = buffer, .num_passes = kPasses});
  subject.warm_up();
  const bench::Plan plan = bench::plan_cells(model.matrix, model.config.max_context);
  for (const bench::CellResult& result : bench::measure_cells(subject, plan.cells, kRepetitions)) {
    // Every run counts, with the moment that it met.
    for (const bench::Sample& run : result.samples) {
      record.cells.push_back(
          {.is_prefill = result.cell.phase == bench::Phase::Prefill,
           .tokens = result.cell.tokens,
           .context = result.cell.context,
           .batch = result.cell.batch,
           .tokens_per_s = run.tokens_per_s,
           .meanwhile = {run.meanwhile.read_bytes_per_s, run.meanwhile.cached_bytes_per_s,
                         run.meanwhile.barrier_s.value_or(0)}});
    }
  }
  return record;
}

}  // namespace fathom::app
