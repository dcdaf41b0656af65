// fathom plan: what a model takes, where it fits and how fast it is, from its config alone.
#include <algorithm>
#include <memory>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"

#include "apps/fathom/file_storage.h"
#include "apps/fathom/model_source.h"
#include "apps/fathom/options.h"
#include "apps/fathom/plan_check.h"
#include "apps/fathom/plan_cost.h"
#include "apps/fathom/plan_report.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;

struct PlanCommand {
  std::string model;
  std::string storage;
  std::string machine;
  std::vector<Index> contexts = {4096, 32768};
  std::vector<Index> batches = {1, 4, 16};
  Index prompt_tokens = 2048;
  double cached_share = 0;
  std::optional<double> mtp_acceptance;
  std::vector<std::string> records;  // of --check
  CostOptions cost;                  // with --markdown and --html, which are of the whole report
  bool json = false;
  bool has_batches = false;
  bool has_contexts = false;
  bool has_prompt = false;
};

std::string describe(const config::StoragePlan& plan, bool is_asked_for) {
  return "experts " + std::string(numeric::to_string(plan.experts)) + ", dense " +
         std::string(numeric::to_string(plan.dense)) +
         (is_asked_for ? ", by --storage" : ", by the config");
}

// What was not asked for follows the model, so that every model has a plan.
void fit_to_model(PlanCommand& options, const config::ModelConfig& model) {
  if (!options.has_contexts) {
    std::erase_if(options.contexts, [&](Index context) { return context > model.max_context; });
    if (options.contexts.empty()) {
      options.contexts = {model.max_context};
    }
  }
  if (!options.has_prompt) {
    options.prompt_tokens = std::min(options.prompt_tokens, model.max_context);
  }
}

PlanAnswer answer(PlanCommand options) {
  const ModelSource source = open_source(options.model);
  PlanAnswer answer;
  answer.model = options.model;
  answer.kind = source.opened ? "checkpoint" : "config";
  fit_to_model(options, source.config.model);
  answer.request.config = source.config.model;
  if (source.opened) {
    if (!options.storage.empty()) {
      fail(ErrorCode::InvalidArgument, "--storage: found \"", options.storage, "\", but ",
           options.model, " is a checkpoint: its files say how it is stored");
    }
    answer.request.storage = storage_of_files(*source.opened);
    answer.storage = "as in the files";
  } else {
    const config::StoragePlan storage = storage_of(source.config, options.storage, options.model);
    answer.request.storage = plan::storage_by_plan(storage);
    answer.storage = describe(storage, !options.storage.empty());
  }
  answer.machine = find_machine_source(options.machine);
  if (answer.machine) {
    answer.request.machine = answer.machine->machine;
  }
  answer.request.contexts = options.contexts;
  answer.request.batches = options.batches;
  answer.request.must_fit = options.has_batches;
  answer.request.prompt_tokens = options.prompt_tokens;
  answer.request.cached_share = options.cached_share;
  answer.request.mtp_acceptance = options.mtp_acceptance;
  answer.plan = plan::make_plan(answer.request);
  return answer;
}

// What --cost and --train ask for.
void add_money(const CostOptions& options,
               const PlanAnswer& made,
               Json& out,
               chart::Report& report) {
  const auto add = [&](CostAnswer money) {
    out.update(money.json);
    report.sections.push_back(std::move(money.section));
  };
  if (options.with_cost) {
    const auto speed = machine_speed(made);
    if (!speed) {
      const std::string& reason = made.plan.decode.front().reason;
      fail(ErrorCode::InvalidArgument, "--cost: without speeds there is no cost of a token: ",
           made.plan.no_speed.empty() ? reason : made.plan.no_speed);
    }
    add(answer_cost(options, made.model, *speed));
  }
  if (options.with_training) {
    add(answer_training(options, made.model, made.request.config));
  }
}

void run_plan(const PlanCommand& options) {
  if (!options.records.empty()) {
    check_plan({.records = options.records,
                .machine = options.machine,
                .json = options.json,
                .markdown = options.cost.as_markdown});
    return;
  }
  if (options.model.empty()) {
    fail(ErrorCode::InvalidArgument, "plan: MODEL is required, except with --check");
  }
  const PlanAnswer made = answer(options);
  Json out = plan_json(made);
  chart::Report report = plan_report(made);
  add_money(options.cost, made, out, report);
  write_html(options.cost, report);
  if (options.json) {
    print_out(out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  print_out(options.cost.as_markdown ? chart::to_markdown(report) : chart::to_text(report));
}

}  // namespace

Command add_plan(CLI::App& program) {
  auto options = std::make_shared<PlanCommand>();
  CLI::App* command = program.add_subcommand(
      "plan",
      "What a model takes, where it fits and how fast it is, from its config alone.\n"
      "Example: fathom plan v4-flash --context 4096,131072\n"
      "Speeds need a profile of the machine: fathom probe. Formulas: docs/planning.md.");
  command
      ->add_option("model", options->model,
                   "Checkpoint (folder, .safetensors, .gguf), config.json, v4-flash or v4-pro")
      ->type_name("MODEL");
  command->add_option("--storage", options->storage, "Of a config alone: how weights are stored")
      ->type_name("fp4|fp8|bf16|f32");
  command
      ->add_option(
          "--machine", options->machine,
          "A machine of the library, or a profile (default: the one that fathom probe saved)")
      ->type_name("NAME|FILE.toml");
  CLI::Option* contexts =
      command->add_option("--context", options->contexts, "Decode behind so many tokens")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->capture_default_str()
          ->type_name("N,..");
  CLI::Option* batches =
      command
          ->add_option("--batch", options->batches,
                       "Decode so many sequences together; those that do not fit are an error")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->capture_default_str()
          ->type_name("N,..");
  CLI::Option* prompt =
      command->add_option("--prompt", options->prompt_tokens, "Tokens of a prompt")
          ->capture_default_str()
          ->type_name("N");
  command
      ->add_option("--cached-share", options->cached_share,
                   "Of the prompt, what is in the cache already")
      ->capture_default_str()
      ->type_name("0..1");
  command
      ->add_option(
          "--mtp-acceptance", options->mtp_acceptance,
          "Share of the tokens drafted by the MTP block that are right: adds what drafting "
          "gives, as fathom serve does it")
      ->type_name("0..1");
  command
      ->add_option("--check", options->records,
                   "Predict the runs in outputs of fathom bench --json and compare")
      ->type_name("FILE.json");
  add_cost_options(*command, options->cost);
  add_json_option(*command, options->json);
  return {command, [options, contexts, batches, prompt](InterruptWatch&) {
            options->has_contexts = contexts->count() > 0;
            options->has_batches = batches->count() > 0;
            options->has_prompt = prompt->count() > 0;
            run_plan(*options);
          }};
}

}  // namespace fathom::app
