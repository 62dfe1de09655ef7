// The table of configuration keys.
#include "train/schema.h"

#include <cmath>
#include <utility>

#include "base/bytes.h"
#include "data/documents.h"
#include "train/schema_keys.h"

namespace precis::train {

namespace {

using namespace schema;

ConfigKey betas_key() {
  const Interval interval{.low = 0, .high = 1, .open_high = true};
  const auto access = [](auto& c) -> auto& { return c.optimizer.betas; };
  return make_key("optimizer.betas", "a list of two numbers" + interval.text(), kGuarded,
                  "Decay of the two moments of adamw and adam.", access,
                  [=](TrainConfig& config, const Json& value) {
                    if (!value.is_array() || value.size() != 2) return false;
                    std::vector<double> betas;
                    for (const Json& beta : value) {
                      if (!beta.is_number() || !interval.holds(beta.get<double>())) return false;
                      betas.push_back(beta.get<double>());
                    }
                    access(config) = betas;
                    return true;
                  });
}

ConfigKey budget_key() {
  const auto access = [](auto& c) -> auto& { return c.encoder.memory_budget; };
  ConfigKey key{.name = "encoder.memory_budget", .type = "an amount of memory such as 8GiB"};
  key.doc = "Most memory to plan for; refused before the first step where it can't be met.";
  key.set = [=](TrainConfig& config, const Json& value) {
    if (value.is_number_integer()) return set_integer(access, 1, kMost)(config, value);
    if (value.is_number_float()) {  // 6e9
      const double bytes = value.get<double>();
      if (!(bytes >= 1 && bytes <= static_cast<double>(kMost) && bytes == std::floor(bytes))) return false;
      access(config) = static_cast<int64_t>(bytes);
      return true;
    }
    if (!value.is_string()) return false;
    try {
      access(config) = parse_bytes(value.get<std::string>(), "", ErrorKind::kConfig);
    } catch (const Error&) {
      return false;  // the caller names file and line
    }
    return true;
  };
  return make_optional(std::move(key), access);
}

ConfigKey memory_dtype_key() {
  const std::vector<std::string> types = {"float32", "float64", "bfloat16"};
  const auto access = [](auto& c) -> auto& { return c.encoder.memory_dtype; };
  ConfigKey key{.name = "encoder.memory_dtype", .type = one_of(types), .guarded = true};
  key.doc = "Type of the stored encoder states; null is precision's own.";
  key.set = set_choice(access, types);
  return make_optional(std::move(key), access);
}

ConfigKey spill_key() {
  const auto access = [](auto& c) -> auto& { return c.encoder.spill; };
  ConfigKey key{.name = "encoder.spill", .type = "a folder"};
  key.doc =
      "Where the encoder states go, in a file without a name, that the budget leaves no room for; null is "
      "output.";
  key.set = [=](TrainConfig& config, const Json& value) {
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) return false;
    access(config) = value.get<std::string>();
    return true;
  };
  return make_optional(std::move(key), access);
}

std::vector<ConfigKey> build_schema() {
  // What float32 holds, with room for products.
  const Interval rate{.low = 0, .high = 1e30}, eps{.low = 1e-30, .high = 1e30},
      fraction{.low = 0, .high = 1, .open_high = true}, positive{.low = 0, .open_low = true};
  return {
      choice(
          "objective", {"summarization", "denoise", "reconstruct", "language_model"}, kGuarded,
          "summarization of documents, or denoise: to restore raw text that was noised, as BART was "
          "pre-trained. The others are not built.",
          [](auto& c) -> auto& { return c.objective; }),
      text(
          "model", "a model directory", kRequired | kGuarded, "Where to start from.",
          [](auto& c) -> auto& { return c.model; }),
      text(
          "output", "a folder", kRequired, "Where checkpoints and metrics go; made where missing.",
          [](auto& c) -> auto& { return c.output; }),
      integer(
          "seed", 0, kGuarded, "Of the shuffle, of dropout and of noise.",
          [](auto& c) -> auto& { return c.seed; }),
      choice(
          "precision", {"float32", "float64", "bfloat16"}, kGuarded,
          "Type of weights and arithmetic; bfloat16 keeps the weights, their gradients and the optimiser's "
          "state in "
          "float32.",
          [](auto& c) -> auto& { return c.precision; }),
      paths(
          "data.train", kRequired,
          "JSON Lines with documents and summaries, also .gz and .zst; for denoise only documents, and text "
          "files too.",
          [](auto& c) -> auto& { return c.data.train; }),
      paths(
          "data.validation", kPlain, "As data.train; without it nothing is validated.",
          [](auto& c) -> auto& { return c.data.validation; }),
      text(
          "data.document_field", "a field's name", kPlain, "The row's field with the document.",
          [](auto& c) -> auto& { return c.data.document_field; }),
      text(
          "data.summary_field", "a field's name", kPlain, "The row's field with the summary.",
          [](auto& c) -> auto& { return c.data.summary_field; }),
      text(
          "data.query_field", "a field's name", kPlain, "The row's field with the query, where there is one.",
          [](auto& c) -> auto& { return c.data.query_field; }),
      choice(
          "data.on_empty_summary", {"error", "skip"}, kPlain,
          "A row without a summary stops the run, or is skipped and counted.",
          [](auto& c) -> auto& { return c.data.on_empty_summary; }),
      make_key(
          "data.on_bad_line", "error, or skip:N with N from 1", kPlain,
          "A bad line stops the run, or up to N of a file are left out and counted.",
          [](auto& c) -> auto& { return c.data.on_bad_line; },
          [](TrainConfig& config, const Json& value) {
            if (!value.is_string() || !parse_on_bad_line(value.get<std::string>())) return false;
            config.data.on_bad_line = value.get<std::string>();
            return true;
          }),
      real(
          "denoise.mask_ratio", {.low = 0, .high = 1}, kGuarded, "Share of a piece's tokens that spans mask.",
          [](auto& c) -> auto& { return c.denoise.mask_ratio; }),
      real(
          "denoise.poisson_lambda", {.low = 0.1, .high = 100}, kGuarded,
          "Mean length of a span; each becomes one mask, and an empty one puts a mask in.",
          [](auto& c) -> auto& { return c.denoise.poisson_lambda; }),
      real(
          "denoise.permute_sentences", {.low = 0, .high = 1}, kGuarded,
          "Share of a piece's sentences that change places.",
          [](auto& c) -> auto& { return c.denoise.permute_sentences; }),
      optional_integer(
          "window", 3, kGuarded,
          "Positions of an encoder window; null is the model's positions. A piece of denoise fits one.",
          [](auto& c) -> auto& { return c.window; }),
      integer(
          "max_target_tokens", 2, kGuarded,
          "Longest target, BOS and EOS included; a piece of denoise is no longer.",
          [](auto& c) -> auto& { return c.max_target_tokens; }),
      choice(
          "target_overflow", {"error", "truncate"}, kGuarded,
          "A longer target stops the run, or is cut and counted.",
          [](auto& c) -> auto& { return c.target_overflow; }),
      choice(
          "encoder.schedule", {"auto", "kept", "cached", "streamed", "two_sweep", "layer_synchronous"},
          kPlain,
          "How the encoder's part of the gradient is obtained; every schedule gives the same gradient.",
          [](auto& c) -> auto& { return c.encoder.schedule; }),
      budget_key(),
      memory_dtype_key(),
      spill_key(),
      integer(
          "batch.documents", 1, kGuarded, "Documents computed together.",
          [](auto& c) -> auto& { return c.batch.documents; }, kMostCounted),
      integer(
          "batch.accumulation", 1, kGuarded,
          "Such batches in one update; the loss is weighted by tokens over all of them.",
          [](auto& c) -> auto& { return c.batch.accumulation; }, kMostCounted),
      optional_integer(
          "batch.ranks_a_document", 1, kPlain,
          "Ranks that share one document's windows; null is as few as leave no rank without one.",
          [](auto& c) -> auto& { return c.batch.ranks_a_document; }, kMostCounted),
      choice(
          "optimizer.name", {"adamw", "adam", "sgd"}, kGuarded,
          "adamw decays weights but neither biases nor norms; adam and sgd (no momentum) decay nothing.",
          [](auto& c) -> auto& { return c.optimizer.name; }),
      real(
          "optimizer.learning_rate", rate, kGuarded, "The schedule's highest rate.",
          [](auto& c) -> auto& { return c.optimizer.learning_rate; }),
      betas_key(),
      real(
          "optimizer.eps", eps, kGuarded, "Added to the root of the second moment.",
          [](auto& c) -> auto& { return c.optimizer.eps; }),
      real(
          "optimizer.weight_decay", rate, kGuarded, "Decoupled weight decay of adamw.",
          [](auto& c) -> auto& { return c.optimizer.weight_decay; }),
      real(
          "optimizer.clip_norm", rate, kGuarded, "Largest norm of the whole gradient; 0 is off.",
          [](auto& c) -> auto& { return c.optimizer.clip_norm; }),
      choice(
          "schedule.name", {"constant", "linear", "inverse_sqrt"}, kGuarded,
          "After the warm-up: constant, linear to 0 at the last update, or rate * sqrt(warmup / t).",
          [](auto& c) -> auto& { return c.schedule.name; }),
      integer(
          "schedule.warmup_steps", 0, kGuarded, "Updates over which the rate rises from 0.",
          [](auto& c) -> auto& { return c.schedule.warmup_steps; }),
      optional_integer(
          "steps", 1, kPlain, "Updates; 1000 where neither steps nor epochs is given.",
          [](auto& c) -> auto& { return c.steps; }),
      optional_integer(
          "epochs", 1, kPlain, "Passes over the training data, instead of steps.",
          [](auto& c) -> auto& { return c.epochs; }, kMostCounted),
      optional_real(
          "time_limit", positive, kPlain,
          "Seconds of training after which the run ends. The linear schedule then decays by the clock where "
          "that is ahead of the updates, so a run with a limit can't be repeated bit for bit.",
          [](auto& c) -> auto& { return c.time_limit; }),
      optional_real(
          "dropout", fraction, kGuarded,
          "null keeps the model's three rates; a number sets `dropout`, and 0 sets all three to 0.",
          [](auto& c) -> auto& { return c.dropout; }),
      optional_real(
          "attention_dropout", fraction, kGuarded, "null keeps the model's.",
          [](auto& c) -> auto& { return c.attention_dropout; }),
      optional_real(
          "activation_dropout", fraction, kGuarded, "null keeps the model's.",
          [](auto& c) -> auto& { return c.activation_dropout; }),
      real(
          "label_smoothing", fraction, kGuarded, "As torch.nn.functional.cross_entropy.",
          [](auto& c) -> auto& { return c.label_smoothing; }),
      integer(
          "validation.every", 0, kPlain, "Updates between validations; 0 is only after the last.",
          [](auto& c) -> auto& { return c.validation.every; }),
      integer(
          "validation.documents", 1, kPlain, "The first so many rows, or pieces of denoise, are used.",
          [](auto& c) -> auto& { return c.validation.documents; }),
      boolean(
          "validation.generate", kPlain, "Write summaries and score them with ROUGE; not for denoise.",
          [](auto& c) -> auto& { return c.validation.generate; }),
      integer(
          "validation.num_beams", 1, kPlain, "Beams of those summaries; written to generation_config.json.",
          [](auto& c) -> auto& { return c.validation.num_beams; }, 1024),
      integer(
          "validation.max_length", 2, kPlain,
          "Their longest length in tokens, by default no more than the model's positions; written to "
          "generation_config.json.",
          [](auto& c) -> auto& { return c.validation.max_length; }),
      choice(
          "validation.metric", {"rouge1", "rouge2", "rougeL", "rougeLsum", "loss"}, kPlain,
          "What decides which checkpoint is the best; loss where nothing is generated.",
          [](auto& c) -> auto& { return c.validation.metric; }),
      optional_integer(
          "early_stopping.patience", 1, kPlain,
          "The run ends after so many validations without improvement of validation.metric; null is off.",
          [](auto& c) -> auto& { return c.early_stopping.patience; }, kMostCounted),
      real(
          "early_stopping.min_delta", rate, kPlain,
          "An improvement is more than this, over the last improvement.",
          [](auto& c) -> auto& { return c.early_stopping.min_delta; }),
      integer(
          "checkpoint.every", 0, kPlain, "Updates between checkpoints; 0 is only after the last.",
          [](auto& c) -> auto& { return c.checkpoint.every; }),
      integer(
          "checkpoint.keep", 1, kPlain, "Newest checkpoints to keep; the best one is kept besides.",
          [](auto& c) -> auto& { return c.checkpoint.keep; }),
  };
}

std::string default_text(const ConfigKey& key) { return key.get(TrainConfig()).dump(); }

}  // namespace

const std::vector<ConfigKey>& config_schema() {
  static const std::vector<ConfigKey> schema = build_schema();
  return schema;
}

const ConfigKey* find_key(const std::string& name) {
  for (const ConfigKey& key : config_schema()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string schema_help() {
  std::string help = "Configuration keys:\n";
  for (const ConfigKey& key : config_schema()) {
    help.append("  ").append(key.name).append(": ").append(key.type).append("; ");
    help.append(key.required ? "required" : "default " + default_text(key))
        .append("\n      ")
        .append(key.doc)
        .append("\n");
  }
  return help;
}

std::string schema_markdown() {
  std::string page = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const ConfigKey& key : config_schema()) {
    page.append("| `").append(key.name).append("` | ").append(key.type).append(" | ");
    page.append(key.required ? "required" : "`" + default_text(key) + "`");
    page.append(" | ").append(key.doc).append(" |\n");
  }
  return page;
}

}  // namespace precis::train
