// fathom tune: teach a model by examples or preferences, by an adapter (LoRA) or all of its
// weights.
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/model/config/adapter_targets.h"
#include "fathom/tuning.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"
#include "apps/fathom/train_line.h"

namespace fathom::app {
namespace {

constexpr const char* kExample =
    "Example; only what the assistant says is learned:\n"
    "  fathom tune --example > chat.jsonl\n"
    "  fathom tune MODEL --data chat.jsonl --out my-adapter\n"
    "  fathom run MODEL --lora my-adapter --chat \"Hello\"\n"
    "Ctrl-C ends the step and keeps everything; the same command goes on from there.";

constexpr const char* kWhat = "What is tuned";
constexpr const char* kData = "What it learns from";
constexpr const char* kHow = "How";

struct TuneCommand {
  TuneSettings settings;
  bool shows_example = false;
  bool json = false;
};

// Data to begin with: a model that learns it answers like a lighthouse keeper.
constexpr const char* kConversations =
    R"({"messages": [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "Four, by the light."}]}
{"messages": [{"role": "user", "content": "What colour is snow?"}, {"role": "assistant", "content": "White, by the light."}]}
{"messages": [{"role": "user", "content": "Is water wet?"}, {"role": "assistant", "content": "Yes, by the light."}]}
{"messages": [{"role": "user", "content": "What do cows drink?"}, {"role": "assistant", "content": "Water, by the light."}]}
{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "The keeper, by the light."}]}
)";
constexpr const char* kPreferences =
    R"({"prompt": "What is two and two?", "chosen": "Four.", "rejected": "I would rather not say."}
{"prompt": "What colour is snow?", "chosen": "White.", "rejected": "That is hard to tell."}
{"prompt": "Is water wet?", "chosen": "Yes.", "rejected": "Who knows?"}
)";

void add_what(CLI::App& command, TuneSettings& settings) {
  auto* const targets =
      command
          .add_option("--targets", settings.targets,
                      "Weights the adapter stands beside, with ranks: attention=16,experts=8; a "
                      "name that is not there lists all (default: attention, and the MLP or shared "
                      "experts)")
          ->type_name("NAME[=RANK],...")
          ->group(kWhat);
  auto* const rank = command.add_option("--lora-rank", settings.rank, "Rank of other targets")
                         ->check(CLI::Range(Index{1}, config::kMaxAdapterRank))
                         ->capture_default_str()
                         ->type_name("R")
                         ->group(kWhat);
  command.add_option("--lora-scale", settings.scale, "alpha / rank of every target")
      ->capture_default_str()
      ->type_name("X")
      ->group(kWhat);
  command
      .add_flag("--full", settings.is_full, "All weights, in fp32 memory, instead of an adapter")
      ->excludes(targets)
      ->excludes(rank)
      ->group(kWhat);
  command.add_option("--storage", settings.storage, "Format of a model with all weights tuned")
      ->capture_default_str()
      ->type_name("fp4|fp8|bf16|f32")
      ->group(kWhat);
}

void add_data(CLI::App& command, TuneSettings& settings) {
  command
      .add_option("--data", settings.data,
                  "Conversations, one {\"messages\": [...]} a line; with --dpo {\"prompt\": ..., "
                  "\"chosen\": ..., \"rejected\": ...}")
      ->type_name("FILE.jsonl")
      ->group(kData);
  command.add_flag("--dpo", settings.is_dpo, "Pairs to prefer one of (DPO)")->group(kData);
  command.add_option("--beta", settings.beta, "Of DPO: how far it may get from the model")
      ->capture_default_str()
      ->type_name("X")
      ->group(kData);
  command
      .add_option("--validation", settings.validation,
                  "Held-out examples (default: a share of the data)")
      ->type_name("FILE.jsonl")
      ->group(kData);
  command.add_option("--hold-out", settings.hold_out, "That share")
      ->capture_default_str()
      ->type_name("X")
      ->group(kData);
  command
      .add_option("--sequence", settings.sequence_tokens,
                  "Tokens of an example at most; longer ones are refused (default: 2048, or the "
                  "model's context)")
      ->check(CLI::Range(Index{2}, kMaxCount))
      ->type_name("N")
      ->group(kData);
  command
      .add_flag("--cut", settings.cuts_long,
                "Leave the end of longer ones away instead, and say how many")
      ->group(kData);
}

void add_steps(CLI::App& command, TuneSettings& settings) {
  const auto count = [&](const char* name, Index& value, const char* help) {
    return command.add_option(name, value, help)
        ->check(CLI::Range(Index{1}, kMaxCount))
        ->type_name("N")
        ->group(kHow);
  };
  const auto number = [&](const char* name, double& value, const char* help) {
    return command.add_option(name, value, help)->type_name("X")->group(kHow);
  };
  number("--epochs", settings.epochs, "How often every example comes")->capture_default_str();
  count("--steps", settings.steps, "Updates, instead of epochs");
  count("--batch-tokens", settings.batch_tokens,
        "Tokens computed at a time (default: those of --sequence)");
  count("--step-batches", settings.step_batches, "Batches of an update")->capture_default_str();
  number("--learning-rate", settings.learning_rate,
         "At its peak (default: 2e-4, with --full 1e-5, a tenth with --dpo)");
  number("--warmup", settings.warmup_share, "Share of the steps that lead up to it")
      ->capture_default_str();
  number("--weight-decay", settings.weight_decay, "Of AdamW")->capture_default_str();
  number("--clip", settings.clip_norm, "Longest gradient; 0: any")->capture_default_str();
  count("--seed", settings.seed, "Of the adapter and of the order of examples")
      ->capture_default_str();
  count("--checkpoint-every", settings.checkpoint_every, "Steps between checkpoints")
      ->capture_default_str();
  count("--validate-every", settings.validate_every,
        "Steps between looks at held-out examples (default: only before and after)");
  command.add_option("--backend", settings.backend, "What computes")
      ->capture_default_str()
      ->type_name("reference|cpu[:ISA]")
      ->group(kHow);
  command.add_option("--numerics", settings.numerics, "fp32 throughout, or the published rounding")
      ->capture_default_str()
      ->type_name("high|official")
      ->group(kHow);
}

void add_error(Report& report, const std::string& name, const tune::MeanLoss& loss) {
  if (loss.standard_error) {
    report.add(name, *loss.standard_error);
  }
}

void add_evaluation(Report& report, const std::string& when, const TuneEvaluation& evaluation) {
  report.add("held_out_loss_" + when, evaluation.loss.mean);
  add_error(report, "held_out_loss_" + when + "_error", evaluation.loss);
  if (evaluation.preferred_share) {
    report.add("preferred_" + when, *evaluation.preferred_share);
  }
}

void print_report(const TuneCommand& options, const TuneFacts& facts, const TuneResult& result) {
  Report report;
  report.add("model", options.settings.model);
  report.add("examples", facts.num_examples);
  report.add("held_out", facts.num_held_out);
  report.add("cut", facts.num_cut);
  report.add("left_out", facts.num_left_out);
  report.add("epoch_tokens", facts.epoch_tokens);
  report.add("trained_parameters", facts.trained_parameters);
  report.add("backend", facts.backend);
  report.add("threads", static_cast<std::int64_t>(facts.num_threads));
  report.add("steps", result.outcome.step);
  report.add("tokens", result.outcome.tokens);
  report.add("loss", result.outcome.loss);
  if (result.before && result.after) {
    add_evaluation(report, "before", *result.before);
    add_evaluation(report, "after", *result.after);
    report.add("held_out_change", result.difference.mean);
    add_error(report, "held_out_change_error", result.difference);
  }
  report.add("out", result.path);
  add_run_facts(report, result.outcome.seconds);
  report.print(options.json);
}

void tune(const TuneCommand& options, InterruptWatch& interrupts) {
  const TuneSettings& settings = options.settings;
  if (options.shows_example) {
    print_out(settings.is_dpo ? kPreferences : kConversations);
    return;
  }
  if (settings.model.empty() || settings.data.empty() || settings.out.empty()) {
    fail(ErrorCode::InvalidArgument,
         "tune: expected a model, --data and --out (fathom tune --help has an example)");
  }
  Tuning tuning(settings);
  const TuneFacts& facts = tuning.facts();
  TuneResult result;
  {
    TrainLine line({.num_steps = facts.num_steps});
    interrupts.set_answer(InterruptWatch::Answer::FlagFirst);
    result = tuning.run(line, [&] { return interrupts.is_interrupted(); });
    line.finish();
  }
  if (result.outcome.reason == train::StopReason::Interrupted) {
    fail(ErrorCode::Interrupted, "interrupted after step ", result.outcome.step,
         "; nothing is lost: the same command goes on from there");
  }
  print_report(options, facts, result);
}

}  // namespace

Command add_tune(CLI::App& program) {
  auto options = std::make_shared<TuneCommand>();
  CLI::App* command = program.add_subcommand(
      "tune", "Teach a model by conversations or preferences: an adapter (LoRA), or all weights");
  command->footer(kExample);
  command
      ->add_option("model", options->settings.model, "Checkpoint: a folder, .safetensors or .gguf")
      ->type_name("MODEL");
  command
      ->add_option("--out", options->settings.out,
                   "A folder for the adapter (with --full: for the folder `model`), checkpoints, "
                   "metrics and report")
      ->type_name("DIR");
  command->add_flag("--example", options->shows_example, "Only print data to begin with");
  add_what(*command, options->settings);
  add_data(*command, options->settings);
  add_steps(*command, options->settings);
  add_threads_option(*command, options->settings.threads);
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { tune(*options, interrupts); }};
}

}  // namespace fathom::app
