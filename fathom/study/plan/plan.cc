#include "fathom/study/plan/plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/speed_model.h"

namespace fathom::plan {
namespace {

// Architecture specification 5.1, from the technical report.
constexpr auto kPublished = std::to_array<PublishedSize>({
    {"v4-flash", 284e9, false, 13e9},
    {"v4-pro", 1.6e12, true, 49e9},
});

void check_count(std::string_view option, Index value, Index smallest, Index largest) {
  if (value < smallest || value > largest) {
    fail(ErrorCode::InvalidArgument, option, ": found ", value, ", expected ", smallest, " to ",
         largest);
  }
}

void check_share(std::string_view option, double value) {
  if (!(value >= 0 && value <= 1)) {
    fail(ErrorCode::InvalidArgument, option, ": found ", value, ", expected 0 to 1");
  }
}

void check_request(const PlanRequest& request) {
  constexpr Index kMostSequences = 1'000'000;
  if (request.contexts.empty() || request.batches.empty()) {
    fail(ErrorCode::InvalidArgument, request.contexts.empty() ? "--context" : "--batch",
         ": found no number, expected at least one");
  }
  for (const Index context : request.contexts) {
    check_count("--context", context, 1, request.config.max_context);
  }
  for (const Index batch : request.batches) {
    check_count("--batch", batch, 1, kMostSequences);
  }
  check_count("--prompt", request.prompt_tokens, 1, request.config.max_context);
  check_share("--cached-share", request.cached_share);
  if (request.mtp_acceptance) {
    check_share("--mtp-acceptance", *request.mtp_acceptance);
    if (request.config.mtp_layers.empty()) {
      fail(ErrorCode::InvalidArgument, "--mtp-acceptance: the model has no block that drafts");
    }
  }
}

class Planner {
 public:
  explicit Planner(const PlanRequest& request)
      : request_(request), work_(request.config, request.storage) {
    plan_.parameters = config::count_parameters(request.config);
    plan_.weights = config::weight_bytes(request.config, request.storage.bytes_of);
    plan_.decode_bytes_per_token =
        config::decode_weight_bytes_per_token(request.config, request.storage.bytes_of);
    plan_.decode_work = work_.of({.context = request.contexts.front()});
    prepare_speed();
  }

  Plan make() {
    for (const Index context : request_.contexts) {
      for (const Index batch : request_.batches) {
        plan_.decode.push_back(decode_cell(context, batch));
      }
    }
    plan_.prefill = prefill();
    if (request_.machine) {
      for (const Quantisation& quantisation : quantisations(request_.config)) {
        plan_.fits.push_back(fit_of(quantisation));
      }
    }
    return std::move(plan_);
  }

 private:
  void prepare_speed() {
    if (!request_.machine) {
      plan_.no_speed =
          "no machine: run fathom probe once (at most a minute; it saves a profile of this "
          "machine), "
          "or name one with --machine";
      return;
    }
    const std::string missing = missing_for_speed(*request_.machine);
    if (missing.empty()) {
      speed_.emplace(*request_.machine);
    } else {
      plan_.no_speed = fmt::format("machine {}: not known: {}", request_.machine->name, missing);
    }
  }

  MemoryParts memory_of(const Storage& storage, Index context, Index batch) const {
    return memory_parts(request_.config, storage, {.num_sequences = batch, .context = context});
  }

  // What is read from the disk when the page cache holds only a part of the experts.
  double disk_seconds(const DecodeCell& cell, double tokens) const {
    if (cell.placement != Placement::RamAndDisk) {
      return 0;
    }
    const config::ModelConfig& config = request_.config;
    const double missing =
        1 - resident_share_of_experts(*request_.machine, cell.memory, plan_.weights.experts);
    const double chosen =
        expected_experts(config.num_experts, config.num_experts_per_token, tokens) /
        static_cast<double>(config.num_experts);
    const double rate = request_.machine->value(FigureKind::DiskReadBytesPerS).value_or(0);
    return missing * chosen * static_cast<double>(plan_.weights.experts) / rate;
  }

  Placement place(const MemoryParts& memory, std::string& reason) const {
    if (!request_.machine) {
      return Placement::Nowhere;
    }
    const Fit ram = fits_in_ram(*request_.machine, memory);
    // A machine whose memory is not known is taken to be large enough, and the report says so.
    if (ram.fits || !ram.is_known) {
      reason = ram.reason;
      return Placement::Ram;
    }
    reason = ram.reason;
    const Fit disk = fits_with_experts_on_disk(*request_.machine, memory, plan_.weights.experts);
    if (!disk.fits) {
      reason = disk.reason;
      return Placement::Nowhere;
    }
    if (!request_.machine->find(FigureKind::DiskReadBytesPerS)) {
      reason += "; how fast the disk reads is not known";
      return Placement::Nowhere;
    }
    return Placement::RamAndDisk;
  }

  DecodeCell decode_cell(Index context, Index batch) {
    DecodeCell cell;
    cell.context = context;
    cell.batch = batch;
    cell.memory = memory_of(request_.storage, context, batch);
    cell.placement = place(cell.memory, cell.reason);
    if (request_.must_fit && request_.machine && cell.placement == Placement::Nowhere) {
      fail(ErrorCode::InvalidArgument, "--batch: ", batch, " sequence(s) of ", context,
           " tokens do not fit into ", request_.machine->name, ": ", cell.reason);
    }
    if (!speed_ || cell.placement == Placement::Nowhere) {
      return cell;
    }
    const auto tokens = static_cast<double>(batch);
    const double read = work_.weight_bytes() + tokens * work_.cache_bytes_read(context);
    const Amounts step = work_.of({.num_sequences = batch, .context = context});
    cell.tokens_per_s = rate_of(tokens, speed_->seconds(step, read, disk_seconds(cell, tokens)));
    if (request_.mtp_acceptance) {
      Amounts drafted = work_.of({.num_sequences = batch,
                                  .tokens_per_sequence = 2,
                                  .context = context,
                                  .logits_per_sequence = 2});
      const Amounts draft = work_.of_draft(batch);
      std::transform(drafted.begin(), drafted.end(), draft.begin(), drafted.begin(), std::plus<>());
      cell.drafted_tokens_per_s =
          rate_of(tokens * (1 + *request_.mtp_acceptance),
                  speed_->seconds(drafted, read, disk_seconds(cell, 2 * tokens)));
    }
    return cell;
  }

  PrefillResult prefill() {
    const Index prompt = request_.prompt_tokens;
    const auto cached =
        static_cast<Index>(std::floor(request_.cached_share * static_cast<double>(prompt)));
    // The last token is always computed: its logits are what follows.
    const Index computed = std::max<Index>(1, prompt - cached);
    PrefillResult result{.prompt_tokens = prompt,
                         .computed_tokens = computed,
                         .tokens_per_s = {},
                         .first_token_s = {}};
    DecodeCell cell;
    cell.memory = memory_of(request_.storage, prompt, 1);
    cell.placement = place(cell.memory, cell.reason);
    if (!speed_ || cell.placement == Placement::Nowhere) {
      return result;
    }
    const Amounts amounts = work_.of_prompt(computed, prompt - computed, kStepTokens);
    double from_disk = 0;
    for (Index done = 0; done < computed; done += kStepTokens) {
      from_disk += disk_seconds(cell, static_cast<double>(std::min(kStepTokens, computed - done)));
    }
    result.first_token_s = speed_->seconds(amounts, work_.weight_bytes(), from_disk);
    result.tokens_per_s = rate_of(static_cast<double>(computed), *result.first_token_s);
    return result;
  }

  QuantisationFit fit_of(const Quantisation& quantisation) const {
    const config::BytesOf& bytes_of = quantisation.storage.bytes_of;
    const config::WeightBytes weights = config::weight_bytes(request_.config, bytes_of);
    const MemoryParts memory =
        memory_of(quantisation.storage, request_.contexts.front(), request_.batches.front());
    const Machine& machine = *request_.machine;
    return {
        .quantisation = quantisation,
        .weights_bytes = weights.total(),
        .decode_bytes_per_token = config::decode_weight_bytes_per_token(request_.config, bytes_of),
        .ram = fits_in_ram(machine, memory),
        .ram_and_disk = fits_with_experts_on_disk(machine, memory, weights.experts),
        .accelerators = fits_in_accelerators(machine, memory)};
  }

  const PlanRequest& request_;
  ModelWork work_;
  std::optional<SpeedModel> speed_;
  Plan plan_;
};

}  // namespace

std::string_view to_string(Placement placement) {
  switch (placement) {
    case Placement::Ram:
      return "memory";
    case Placement::RamAndDisk:
      return "memory and disk";
    case Placement::Nowhere:
      break;
  }
  return "nowhere";
}

Plan make_plan(const PlanRequest& request) {
  check_request(request);
  return Planner(request).make();
}

std::optional<PublishedSize> find_published_size(std::string_view name) {
  const auto* const found =
      std::find_if(kPublished.begin(), kPublished.end(),
                   [&](const PublishedSize& row) { return row.name == name; });
  return found == kPublished.end() ? std::nullopt : std::optional(*found);
}

}  // namespace fathom::plan
