// From one update to the next.
#include "train/trainer.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "io/atomic_directory.h"
#include "io/digest.h"
#include "models/model_files.h"
#include "models/weights.h"
#include "nn/device.h"
#include "train/metrics.h"
#include "train/output_folder.h"
#include "train/resume.h"
#include "train/schedule.h"
#include "train/tensorboard.h"

namespace precis::train {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

// Under bfloat16 the weights are float32 all the same.
models::BartModel load_in(const std::string& precision, const fs::path& path, at::Device device,
                          const LogSink& sink) {
  models::BartModel model = models::load_model(path, precision == "float64" ? at::kDouble : at::kFloat, sink);
  model.to(device);
  if (precision == "bfloat16") model.compute_in(at::kBFloat16);
  return model;
}

// What a validation's value depends on besides the weights.
std::string measure_of(const TrainConfig& config, const Setup& setup) {
  if (!setup.validation) return "";
  Json settings = {config.effective_metric(), setup.validation->digest, setup.generation.json, setup.window};
  if (const auto& noise = setup.validation->denoise) {
    settings.push_back({noise->mask_ratio, noise->poisson_lambda, noise->permute_sentences});
  }
  return sha256(dump_json(settings)).substr(0, 16);
}

class Trainer {
 public:
  Trainer(const TrainRequest& request, FileSystem& files, const LogSink& sink, const StopToken* stop,
          const TrainObserver& observer, parallel::Communicator& ranks, Setup setup,
          const std::optional<ResumePoint>& resumed)
      : config_(request.config),
        folder_(request.config.output),
        files_(files),
        sink_(sink),
        stop_(stop),
        observer_(observer),
        ranks_(ranks, config_.batch.ranks_a_document, config_.batch.documents * config_.batch.accumulation),
        setup_(std::move(setup)),
        model_(load_in(config_.precision, resumed ? resumed->path : fs::path(config_.model), request.device,
                       sink_)),
        sampler_(setup_.training.counts.examples, static_cast<uint64_t>(config_.seed)),
        dropout_(dropout_rates(config_, setup_.model_config)),
        measure_(measure_of(config_, setup_)) {
    state_.model_digest = setup_.model_digest;
    state_.tokenizer_digest = setup_.tokenizer_digest;
    state_.data_digest = setup_.training.digest;
    state_.config = config_to_json(config_);
    if (resumed) {
      state_ = state_from(*resumed, state_, measure_, folder_, request.allow_change, sink_);
      saved_step_ = state_.step;
      saved_path_ = resumed->path;
      seconds_before_ = state_.seconds;
      sampler_.set_state(state_.sampler);
    } else {
      state_.run = new_run_name(folder_);
    }
    state_.run = parallel::from_leader(ranks_.all(), state_.run);
    total_steps_ = last_step(config_, setup_.training.counts.examples, state_.step, sampler_.state());
    plan_ = make_plan(config_, setup_, model_, ranks_, resumed ? state_.step_bytes : std::nullopt);
    if (plan_.step_bytes) {
      const int64_t agreed = smallest(ranks_.all(), *plan_.step_bytes);
      if (agreed < *plan_.step_bytes) plan_ = make_plan(config_, setup_, model_, ranks_, agreed);
    }
    if (plan_.step_bytes && state_.step_bytes && *plan_.step_bytes < *state_.step_bytes) {
      log(sink_, LogLevel::kWarning,
          "there is room for " + format_bytes(*plan_.step_bytes) + " a step, where the run had " +
              format_bytes(*state_.step_bytes) + ": from here on rounding may differ");
    }
    state_.step_bytes = plan_.step_bytes;
    if (observer_.on_plan) observer_.on_plan(plan_);
    memory::check_budget(plan_);
  }

  TrainOutcome run(const std::optional<ResumePoint>& resumed) {
    TrainOutcome outcome{.first_step = state_.step};
    if (leads()) check_free_space(folder_, 2 * bytes_of_checkpoint());
    model_.set_requires_grad(true);
    const OptimizerOptions options = optimizer_options(config_.optimizer);
    optimizer_.emplace(model_.parameters(), options);
    if (resumed && keeps_optimizer_state(*resumed, options.name)) {
      load_optimizer(*optimizer_, *resumed);
    } else if (resumed) {
      log(sink_, LogLevel::kWarning, "the optimiser is another one: its state begins anew");
    }
    if (leads()) {
      replace_file(files_, folder_ / "config.yaml",
                   kConfigHeader + config_to_yaml(config_, /*origins=*/false));
      metrics_.emplace(files_, folder_ / "metrics.jsonl");
      tensorboard_.emplace(files_, folder_, resumed ? state_.step + 1 : 0);
    }
    began_ = Clock::now();
    agree();
    write_start(resumed);
    try {
      // Asked once an update: with a time limit the answer changes by itself, and the last update must be
      // saved.
      bool last = over();
      // A new run has a checkpoint of its own from the start.
      if (resumed && state_.run != resumed->state.run) save();
      // What the earlier session did not come to.
      if (resumed || last) last = after_update(last);
      while (!last) {
        update();
        agree();
        last = over();
        last = after_update(last);
      }
    } catch (const std::exception& error) {
      leave(kind_of(error));
      throw;
    }
    outcome.stopped_early = out_of_patience() && state_.step < total_steps_;
    write_event("end", {{"reason", outcome.stopped_early ? "early_stopping" : "finished"}});
    sync_record();
    outcome.step = state_.step;
    outcome.seconds = seconds();
    outcome.best = state_.best;
    outcome.checkpoint = saved_path_;
    outcome.planned_bytes = plan_.total();
    return outcome;
  }

 private:
  // What is worth it is saved before an error ends the run.
  void leave(ErrorKind reason) {
    const bool worth = reason != ErrorKind::kIo && !broken_ && !models::first_not_finite(model_.parameters());
    if (state_.step > 0 && state_.step != saved_step_ && worth) save();
    write_event("end", {{"reason", name(reason)}});
  }

  double seconds() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - began_).count();
  }

  bool leads() const { return ranks_.all().leads(); }

  // Between updates: what every rank goes on with alike.
  void agree() {
    now_ = agreed_seconds(ranks_.all(), seconds());
    if (several_ranks()) throw_if_any_stopped(ranks_.all(), stop_);
  }

  bool several_ranks() const { return ranks_.all().size() > 1; }
  // Ranks that compute together stop together, in agree().
  const StopToken* stop_inside() const { return several_ranks() ? nullptr : stop_; }

  double time_fraction() const { return config_.time_limit ? now_ / *config_.time_limit : 0.0; }

  bool out_of_patience() const {
    const std::optional<int64_t>& patience = config_.early_stopping.patience;
    return patience && state_.early_stopping.without_improvement >= *patience;
  }

  bool over() const { return state_.step >= total_steps_ || time_fraction() >= 1.0 || out_of_patience(); }

  int64_t bytes_of_checkpoint() const {
    int64_t bytes = 0;
    for (const auto& [name, tensor] : model_.state()) bytes += static_cast<int64_t>(tensor.nbytes());
    return bytes * (1 + state_tensors(optimizer_options(config_.optimizer).name));
  }

  // The next update's documents; the last epoch's end may leave fewer.
  UpdateDocuments next_documents() {
    UpdateDocuments next{.count = config_.batch.documents * config_.batch.accumulation};
    if (config_.epochs) {
      const int64_t rows = setup_.training.counts.examples;
      const SamplerState place = sampler_.state();
      next.count = std::min(next.count, (*config_.epochs - place.epoch) * rows - place.position);
    }
    struct Draw {
      int64_t row, epoch;
    };
    std::vector<Draw> draws;
    for (int64_t i = 0; i < next.count; ++i) {
      const int64_t row = sampler_.next();
      draws.push_back({.row = row, .epoch = sampler_.state().epoch});
      next.target_tokens +=
          static_cast<int64_t>(setup_.training.examples[static_cast<size_t>(row)].target.size());
    }
    next.at = [this, draws = std::move(draws)](int64_t index) {
      const Draw& draw = draws[static_cast<size_t>(index)];
      return training_example(setup_.training, draw.row, draw.epoch, static_cast<uint64_t>(config_.seed));
    };
    return next;
  }

  void update() {
    const Clock::time_point start = Clock::now();
    const int64_t step = state_.step + 1;
    UpdateOptions options;
    options.gradient.way = plan_.way;
    options.gradient.bytes = plan_.step_bytes;
    options.gradient.memory_type = memory_type(config_);
    options.gradient.spill = config_.encoder.spill ? fs::path(*config_.encoder.spill) : folder_;
    options.gradient.window = setup_.window;
    options.gradient.label_smoothing = config_.label_smoothing;
    options.gradient.dropout = dropout_;
    options.gradient.dropout.step = step;
    options.batch_documents = config_.batch.documents;
    options.clip_norm = config_.optimizer.clip_norm;
    options.learning_rate = Schedule{.name = schedule_name(config_.schedule.name),
                                     .rate = config_.optimizer.learning_rate,
                                     .warmup_steps = config_.schedule.warmup_steps,
                                     .total_steps = total_steps_}
                                .at(step, time_fraction());
    if (several_ranks()) options.ranks = &ranks_;
    if (observer_.on_progress) {
      options.gradient.progress = [&](memory::StepPhase phase, int64_t done, int64_t total) {
        if (Clock::now() - start > std::chrono::seconds(2)) observer_.on_progress(step, phase, done, total);
      };
    }
    const UpdateResult result = apply_update(model_, *optimizer_, next_documents(), options, stop_inside());
    const double duration = std::chrono::duration<double>(Clock::now() - start).count();
    const int64_t tokens = result.source_tokens + result.target_tokens;
    // Only now: an update that a stop or a non-finite loss ended has not happened.
    state_.step = step;
    state_.sampler = sampler_.state();

    write_event("step", {{"loss", result.loss},
                         {"learning_rate", options.learning_rate},
                         {"grad_norm", result.grad_norm},
                         {"source_tokens", result.source_tokens},
                         {"target_tokens", result.target_tokens},
                         {"tokens_per_second", static_cast<double>(tokens) / duration}});
    if (!observer_.on_step) return;
    const double share = static_cast<double>(step) / static_cast<double>(total_steps_);
    observer_.on_step({.step = step,
                       .total_steps = total_steps_,
                       .fraction = std::clamp(std::max(share, time_fraction()), 0.0, 1.0),
                       .learning_rate = options.learning_rate,
                       .seconds = seconds(),
                       .seconds_of_update = duration,
                       .update = result});
  }

  // Validation and checkpoint, where this step has them. Whether it is the last, which a validation decides
  // too.
  bool after_update(bool last) {
    const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
    bool best = false;
    if (setup_.validation && state_.validated_step < state_.step && (last || due(config_.validation.every))) {
      best = validate_now();
      last = last || out_of_patience();
    }
    const bool saved = saved_step_ == state_.step;
    if (best || (!saved && (last || due(config_.checkpoint.every)))) save();
    return last;
  }

  // Whether it is the best so far.
  bool validate_now() {
    ValidationRequest request;
    request.window = setup_.window;
    if (config_.validation.generate) request.generation = setup_.generation.config;
    request.streamed = plan_.streamed_validation;
    request.stop = stop_inside();
    request.ranks = &ranks_.all();
    request.progress = observer_.on_validating;
    std::optional<models::PackedDecoder> packed;
    if (request.generation) packed.emplace(model_);
    const ValidationResult result = validate(model_, setup_.tokenizer, *setup_.validation, request);
    packed.reset();
    state_.validated_step = state_.step;
    broken_ = !std::isfinite(result.loss);
    if (broken_) {
      throw Error(ErrorKind::kNonFinite,
                  {.what = "the validation loss is not finite",
                   .where = "step " + std::to_string(state_.step),
                   .hint = "the update before it overflowed the weights: lower optimizer.learning_rate"});
    }
    const std::string metric = config_.effective_metric();
    const double value = result.metric(metric);
    const bool best = !state_.best || is_better(metric, value, state_.best->value);
    state_.early_stopping =
        after_validation(state_.early_stopping, metric, value, config_.early_stopping.min_delta);
    state_.early_stopping.measure = measure_;
    if (best) state_.best = BestSoFar{metric, value, state_.step, state_.run, measure_};
    Json fields = {{"loss", result.loss},
                   {"target_tokens", result.tokens},
                   {"documents", result.documents},
                   {"best", best}};
    if (result.rouge) {
      for (size_t type = 0; type < result.rouge->size(); ++type) {
        fields[evaluate::kRougeNames[type]] = (*result.rouge)[type];
      }
      fields["mean_length"] = result.mean_length;
    }
    write_event("validation", fields);
    if (observer_.on_validation) observer_.on_validation(state_.step, result, best);
    return best;
  }

  void save() {
    // Such a checkpoint would take the place of a good one.
    if (const std::optional<std::string> broken = models::first_not_finite(model_.parameters())) {
      throw Error(
          ErrorKind::kNonFinite,
          {.what = "weight '" + *broken + "' holds values that are not finite: nothing is saved",
           .where = "step " + std::to_string(state_.step),
           .hint = "lower optimizer.learning_rate; the checkpoints before this step are as they were"});
    }
    state_.seconds = seconds();
    state_.optimizer_steps = optimizer_->steps();
    // A new run takes the checkpoint it began with, its best perhaps, under its own name.
    if (state_.best && state_.best->step == state_.step) state_.best->run = state_.run;
    saved_step_ = state_.step;
    if (!leads()) return;
    const fs::path path = save_checkpoint(files_, folder_,
                                          {.model = model_,
                                           .optimizer = *optimizer_,
                                           .tokenizer = setup_.tokenizer,
                                           .generation_config = setup_.generation.json},
                                          state_);
    saved_path_ = path;
    prune_checkpoints(files_, folder_, state_, config_.checkpoint.keep);
    write_event("checkpoint", {{"path", path.filename().string()}});
    sync_record();
    if (observer_.on_checkpoint) observer_.on_checkpoint(path);
  }

  void write_start(const std::optional<ResumePoint>& resumed) {
    int64_t parameters = 0;
    for (const auto& [name, tensor] : model_.parameters()) parameters += tensor.numel();
    write_event("start",
                {{"run", state_.run},
                 {"resumed_from", resumed ? Json(resumed->path.string()) : Json()},
                 {"total_steps", total_steps_},
                 {"parameters", parameters},
                 {"training_documents", setup_.training.counts.examples},
                 {"validation_documents", setup_.validation ? setup_.validation->counts.examples : 0},
                 {"encode_schedule", memory::name(plan_.way.schedule)},
                 {"planned_bytes", plan_.total()}});
  }

  void write_event(const char* event, const Json& fields) {
    if (!leads()) return;
    Json line = {{"event", event}, {"step", state_.step}};
    line.update(fields);
    line["seconds"] = seconds();
    line["peak_memory_bytes"] = nn::peak_bytes(model_.device());
    metrics_->write(line);
    tensorboard_->write(line);
  }

  void sync_record() {
    if (!leads()) return;
    metrics_->sync();
    tensorboard_->sync();
  }

  const TrainConfig& config_;
  fs::path folder_;
  FileSystem& files_;
  const LogSink& sink_;
  const StopToken* stop_;
  const TrainObserver& observer_;
  RankGrid ranks_;
  Setup setup_;
  models::BartModel model_;
  std::optional<Optimizer> optimizer_;
  Sampler sampler_;
  memory::StepDropout dropout_;
  std::string measure_;
  memory::MemoryPlan plan_;
  std::optional<MetricsLog> metrics_;
  std::optional<TensorBoardLog> tensorboard_;
  TrainerState state_;
  int64_t total_steps_ = 0;
  int64_t saved_step_ = -1;
  fs::path saved_path_;
  bool broken_ = false;  // a validation found weights that give no finite loss
  double seconds_before_ = 0.0;
  double now_ = 0.0;  // seconds() of the leader after the last update
  Clock::time_point began_ = Clock::now();
};

// The leader's choice, which the others open too.
std::optional<ResumePoint> common_resume_point(const TrainRequest& request, const LogSink& sink,
                                               parallel::Communicator& ranks) {
  std::optional<ResumePoint> point;
  if (ranks.leads()) point = find_resume_point(request.resume, request.config.output, sink);
  const std::string path = parallel::from_leader(ranks, point ? point->path.string() : "");
  if (!ranks.leads() && !path.empty()) point = open_checkpoint(path);
  return point;
}

}  // namespace

TrainOutcome train(const TrainRequest& request, FileSystem& files, const LogSink& sink, const StopToken* stop,
                   const TrainObserver& observer, parallel::Communicator& ranks) {
  std::optional<FolderLock> lock;
  check_changeable(request.allow_change);
  if (!request.dry_run && ranks.leads()) {
    // Before the long work: an output that can't be written is found first.
    make_directories(files, request.config.output);
    lock.emplace(request.config.output);
    prepare_folder(files, request.config.output);
  }
  const std::optional<ResumePoint> resumed = common_resume_point(request, sink, ranks);
  Setup setup = prepare(request.config, resumed ? resumed->path : fs::path(request.config.model), sink, stop,
                        observer.on_reading);
  TrainRequest resolved = request;
  // What null and the default meant: for a resumed run to compare, and for config.yaml to be run again.
  resolved.config.window = setup.window;
  resolved.config.validation.max_length = setup.generation.config.max_length;
  Trainer trainer(resolved, files, sink, stop, observer, ranks, std::move(setup), resumed);
  if (request.dry_run) return {};
  return trainer.run(resumed);
}

}  // namespace precis::train
