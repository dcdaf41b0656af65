#include "apps/fathom/train_settings.h"

#include <utility>
#include <vector>

namespace fathom::app {
namespace {

using Rows = std::vector<formats::Setting>;

Rows run_rows(TrainSettings::Run& run) {
  return {
      {.section = "run",
       .key = "folder",
       .value = &run.folder,
       .help = "Where checkpoints, metrics.jsonl, report.html and the finished model go. The same "
               "command goes on from there. Paths are as seen from where the program is started.",
       .changes_results = false},
      {.section = "run",
       .key = "weights",
       .value = &run.weights,
       .help = "Which weights become the finished model: the last step's, those with the lowest "
               "validation loss, or the average over steps (optimizer.average).",
       .choices = {"last", "best", "average"},
       .changes_results = false},
      {.section = "run",
       .key = "threads",
       .value = &run.threads,
       .help = "Threads; 0: one per processor. Results do not depend on it.",
       .minimum = 0,
       .maximum = 4096,
       .changes_results = false},
      {.section = "run",
       .key = "backend",
       .value = &run.backend,
       .help = "What computes: cpu, cpu:ISA or reference."},
      {.section = "run",
       .key = "numerics",
       .value = &run.numerics,
       .help = "fp32 throughout, or the published rounding passed straight through "
               "(docs/numerics.md).",
       .choices = {"high", "official"}},
      {.section = "run",
       .key = "gradient_products",
       .value = &run.gradient_products,
       .help =
           "What matrix products on the way back multiply: fp32 numbers, or numbers rounded to "
           "BF16 and added up in fp32, which is two to three times as fast where the processor has "
           "matrix tiles (Intel AMX) and no faster elsewhere.",
       .choices = {"fp32", "bf16"}},
      {.section = "run",
       .key = "expert_shares_every",
       .value = &run.expert_shares_every,
       .help = "Steps between two lists of the experts' loads in metrics.jsonl; 0: never.",
       .minimum = 0,
       .changes_results = false},
  };
}

Rows model_rows(TrainSettings::Model& model) {
  return {
      {.section = "model",
       .key = "config",
       .value = &model.config,
       .help = "A config.json: a new model of this shape, with random numbers. Matrices are normal "
               "with deviation 0.02, norms and scales 1, biases, sinks and bases 0."},
      {.section = "model",
       .key = "path",
       .value = &model.path,
       .help = "Instead of config: a checkpoint to go on training from."},
      {.section = "model",
       .key = "seed",
       .value = &model.seed,
       .help = "Of a new model's numbers.",
       .minimum = 0},
      {.section = "model",
       .key = "train",
       .value = &model.trained,
       .help = "Names of the parameters that are trained, * for any letters; none: all of them."},
      {.section = "model",
       .key = "freeze",
       .value = &model.frozen,
       .help = "Names of parameters that are not trained after all."},
  };
}

Rows data_rows(TrainSettings::Data& data) {
  return {
      {.section = "data",
       .key = "folders",
       .value = &data.folders,
       .help = "Folders that `fathom data build` made."},
      {.section = "data",
       .key = "weights",
       .value = &data.weights,
       .help = "How many of the tokens come from each folder, against the others; none: as many as "
               "it has.",
       .minimum = 0},
      {.section = "data",
       .key = "sequence_tokens",
       .value = &data.sequence_tokens,
       .help = "Tokens that documents are packed into; at most the model's context.",
       .minimum = 2},
      {.section = "data",
       .key = "batch_sequences",
       .value = &data.batch_sequences,
       .help = "Sequences computed at a time: more are faster and take more memory.",
       .minimum = 1},
      {.section = "data",
       .key = "step_sequences",
       .value = &data.step_sequences,
       .help = "Sequences of one update; a multiple of batch_sequences.",
       .minimum = 1},
      {.section = "data",
       .key = "seed",
       .value = &data.seed,
       .help = "Of the order of documents.",
       .minimum = 0},
  };
}

Rows schedule_rows(TrainSettings::Schedule& schedule) {
  return {
      {.section = "schedule",
       .key = "steps",
       .value = &schedule.steps,
       .help = "Updates of the whole run.",
       .minimum = 0},
      {.section = "schedule",
       .key = "max_hours",
       .value = &schedule.max_hours,
       .help = "Hours after which it ends, over all starts; 0: no limit.",
       .minimum = 0,
       .changes_results = false},
      {.section = "schedule",
       .key = "kind",
       .value = &schedule.kind,
       .help = "After warm-up, the learning rate stays at its peak, falls by half a cosine, or "
               "stays and falls over the last decay_steps (warm-up, stable, decay).",
       .choices = {"constant", "cosine", "wsd"}},
      {.section = "schedule",
       .key = "peak",
       .value = &schedule.peak,
       .help = "The highest learning rate.",
       .minimum = 0},
      {.section = "schedule",
       .key = "end",
       .value = &schedule.end,
       .help = "The learning rate at the end.",
       .minimum = 0},
      {.section = "schedule",
       .key = "warmup_steps",
       .value = &schedule.warmup_steps,
       .help = "Steps over which it rises from 0.",
       .minimum = 0},
      {.section = "schedule",
       .key = "decay_steps",
       .value = &schedule.decay_steps,
       .help = "wsd: steps over which it falls.",
       .minimum = 0},
      {.section = "schedule",
       .key = "curve",
       .value = &schedule.curve,
       .help = "wsd: how it falls.",
       .choices = {"linear", "cosine", "1-sqrt"}},
  };
}

Rows optimizer_rows(TrainSettings::Optimizer& optimizer) {
  return {
      {.section = "optimizer",
       .key = "matrices",
       .value = &optimizer.matrices,
       .help = "What updates matrices; everything else is AdamW's.",
       .choices = {"muon", "adamw"}},
      {.section = "optimizer",
       .key = "beta1",
       .value = &optimizer.beta1,
       .help = "AdamW's, of the mean gradient.",
       .minimum = 0,
       .maximum = 1},
      {.section = "optimizer",
       .key = "beta2",
       .value = &optimizer.beta2,
       .help = "AdamW's, of the mean square.",
       .minimum = 0,
       .maximum = 1},
      {.section = "optimizer",
       .key = "epsilon",
       .value = &optimizer.epsilon,
       .help = "AdamW's.",
       .minimum = 0},
      {.section = "optimizer",
       .key = "momentum",
       .value = &optimizer.momentum,
       .help = "Muon's.",
       .minimum = 0,
       .maximum = 1},
      {.section = "optimizer",
       .key = "update_rms",
       .value = &optimizer.update_rms,
       .help = "Muon's: root mean square of an update at learning rate 1.",
       .minimum = 0},
      {.section = "optimizer",
       .key = "weight_decay",
       .value = &optimizer.weight_decay,
       .help = "Per step, times the learning rate.",
       .minimum = 0},
      {.section = "optimizer",
       .key = "vectors_decay",
       .value = &optimizer.vectors_decay,
       .help = "Whether norms, biases, sinks and scales decay as well."},
      {.section = "optimizer",
       .key = "clip_norm",
       .value = &optimizer.clip_norm,
       .help = "Longer gradients are shortened to this norm; 0: never.",
       .minimum = 0},
      {.section = "optimizer",
       .key = "average",
       .value = &optimizer.average,
       .help = "Keeps an average of the weights, of which each step keeps this share (0.999); 0: "
               "none.",
       .minimum = 0,
       .maximum = 1},
  };
}

Rows loss_rows(TrainSettings::Loss& loss, TrainSettings::Quantisation& quantisation) {
  return {
      {.section = "loss",
       .key = "mtp",
       .value = &loss.mtp,
       .help = "What the loss of the second token (MTP) counts for, where the model has such a "
               "block.",
       .minimum = 0},
      {.section = "loss",
       .key = "mtp_in_decay",
       .value = &loss.mtp_in_decay,
       .help = "The same once the learning rate falls.",
       .minimum = 0},
      {.section = "loss",
       .key = "balance",
       .value = &loss.balance,
       .help = "What an uneven load of experts within a sequence counts for.",
       .minimum = 0},
      {.section = "loss",
       .key = "router_bias_speed",
       .value = &loss.router_bias_speed,
       .help = "How far a step moves the biases that routers choose with, towards an even load.",
       .minimum = 0},
      {.section = "loss",
       .key = "indexer",
       .value = &loss.indexer,
       .help = "What the indexers' own loss counts for; 0: they learn nothing.",
       .minimum = 0},
      {.section = "loss",
       .key = "indexer_warm_up",
       .value = &loss.indexer_warm_up,
       .help = "Indexers learn from attention over all blocks, not over those they chose."},
      {.section = "loss",
       .key = "teacher",
       .value = &loss.teacher,
       .help = "A checkpoint with the same tokenizer, whose probabilities the model learns too."},
      {.section = "loss",
       .key = "teacher_weight",
       .value = &loss.teacher_weight,
       .help = "What the teacher counts for; the data counts for the rest.",
       .minimum = 0,
       .maximum = 1},
      {.section = "loss",
       .key = "teacher_top_k",
       .value = &loss.teacher_top_k,
       .help = "The teacher's likeliest tokens that are learned one by one.",
       .minimum = 1},
      {.section = "loss",
       .key = "teacher_temperature",
       .value = &loss.teacher_temperature,
       .help = "At which both models' probabilities are compared.",
       .minimum = 0},
      {.section = "loss",
       .key = "recompute",
       .value = &loss.recompute,
       .help = "Compute layers again on the way back, instead of keeping all of them in memory.",
       .changes_results = false},
      {.section = "quantisation",
       .key = "storage",
       .value = &quantisation.storage,
       .help =
           "How the finished model is stored: experts in FP4 and the rest in FP8, or all in one "
           "format.",
       .choices = {"fp4", "fp8", "bf16", "f32"}},
      {.section = "quantisation",
       .key = "aware",
       .value = &quantisation.is_aware,
       .help = "Train with the rounded numbers that the finished model will have "
               "(quantisation-aware)."},
  };
}

Rows validation_rows(TrainSettings::Validation& validation) {
  return {
      {.section = "validation",
       .key = "every",
       .value = &validation.every,
       .help =
           "Steps between two validations, on the documents that `fathom data build` kept apart; "
           "0: none.",
       .minimum = 0},
      {.section = "validation",
       .key = "tokens",
       .value = &validation.tokens,
       .help = "Tokens of each, the same every time.",
       .minimum = 1},
      {.section = "validation",
       .key = "patience",
       .value = &validation.patience,
       .help = "End after so many validations without a better one; 0: never.",
       .minimum = 0},
  };
}

Rows guard_rows(train::GuardOptions& guard) {
  return {
      {.section = "guard",
       .key = "deviations",
       .value = &guard.deviations,
       .help = "A step whose loss or gradient norm is so many deviations above the median of those "
               "before is not made and its data left out; 0: only what is not a number.",
       .minimum = 0},
      {.section = "guard",
       .key = "window_steps",
       .value = &guard.window_steps,
       .help = "Steps that median and deviation are taken over.",
       .minimum = 1},
      {.section = "guard",
       .key = "min_steps",
       .value = &guard.min_steps,
       .help = "Steps before the guard begins.",
       .minimum = 1},
      {.section = "guard",
       .key = "steps_in_a_row",
       .value = &guard.steps_in_a_row,
       .help = "After so many refused steps in a row the run goes back to its last checkpoint.",
       .minimum = 1},
      {.section = "guard",
       .key = "max_rollbacks",
       .value = &guard.max_rollbacks,
       .help = "After so many rollbacks without getting further it ends with an error.",
       .minimum = 0},
  };
}

Rows checkpoint_rows(TrainSettings::Checkpoint& checkpoint) {
  return {
      {.section = "checkpoint",
       .key = "every",
       .value = &checkpoint.every,
       .help = "Steps between two checkpoints: what a killed process loses at most.",
       .minimum = 1},
      {.section = "checkpoint",
       .key = "keep",
       .value = &checkpoint.keep,
       .help = "Checkpoints that are kept, besides the best.",
       .minimum = 1,
       .changes_results = false},
  };
}

}  // namespace

formats::Settings train_settings_table(TrainSettings& settings) {
  Rows rows;
  for (const Rows& part : std::vector<Rows>{
           run_rows(settings.run), model_rows(settings.model), data_rows(settings.data),
           schedule_rows(settings.schedule), optimizer_rows(settings.optimizer),
           loss_rows(settings.loss, settings.quantisation), validation_rows(settings.validation),
           guard_rows(settings.guard), checkpoint_rows(settings.checkpoint)}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return formats::Settings(std::move(rows));
}

}  // namespace fathom::app
