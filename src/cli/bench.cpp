// precis bench: how fast the parts of the program are on this machine, on made-up ids of equal length.
// scripts/bench runs it beside its peers; benchmarks/README.md says what each task is.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "cli/program.h"
#include "generate/generate.h"
#include "io/json.h"
#include "io/read_file.h"
#include "io/utf8.h"
#include "memory/cross_attention.h"
#include "memory/encode.h"
#include "memory/packs.h"
#include "memory/plan.h"
#include "models/model_files.h"
#include "nn/device.h"
#include "text/tokenizer.h"
#include "train/update.h"

namespace precis::cli {

namespace {

using Clock = std::chrono::steady_clock;

struct BenchOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::string> tasks = {"encode", "decode", "batch", "train"};
  std::string text;
  int64_t source_tokens = 0;  // 0: half a window
  int64_t windows = 8;
  int64_t documents = 16;
  std::optional<int64_t> new_tokens;
  int64_t num_beams = 4;
  int64_t train_source_tokens = 8192;
  std::optional<int64_t> train_target_tokens;
  std::string train_schedule = "auto";
  int64_t repeats = 3;
  std::string format = "text";
};

// One task's figures: `value` in `unit` from the median of `seconds`, one a repetition.
struct Figure {
  std::string task;
  std::string unit;
  double value = 0.0;
  std::vector<double> seconds;
};

// Ids that every peer makes too (benchmarks/peers/common.py): neither special nor alike.
memory::DocumentTokens made_up_document(int64_t tokens, int64_t vocabulary, int64_t number) {
  constexpr int64_t kLeftOut = 8;
  if (vocabulary <= kLeftOut) {
    throw Error(ErrorKind::kModel, {.what = "the vocabulary is too small to make documents up of",
                                    .where = "vocab_size",
                                    .expected = "more than " + std::to_string(kLeftOut),
                                    .found = std::to_string(vocabulary)});
  }
  memory::DocumentTokens document;
  document.text.reserve(static_cast<size_t>(tokens));
  for (int64_t i = 0; i < tokens; ++i) {
    document.text.push_back(
        static_cast<int32_t>(4 + (i * 7919 + number * 104729 + 13) % (vocabulary - kLeftOut)));
  }
  return document;
}

// What an option asks for, or its default where the model has the positions for that.
int64_t decoder_tokens(const std::optional<int64_t>& given, int64_t usual, int64_t least, const char* option,
                       const models::BartConfig& model) {
  const int64_t most = model.max_position_embeddings - 1;  // behind the start
  const int64_t tokens = given.value_or(std::max(least, std::min(usual, most)));
  if (tokens <= most) return tokens;
  throw Error(ErrorKind::kUsage, {.what = "more tokens than the decoder has positions for",
                                  .where = option,
                                  .expected = "at most " + std::to_string(most),
                                  .found = std::to_string(tokens)});
}

// What a GPU was given to do belongs to the work that gave it.
double seconds_of(at::Device device, const std::function<void()>& work) {
  nn::synchronize(device);
  const Clock::time_point start = Clock::now();
  work();
  nn::synchronize(device);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The first run warms caches and is not counted.
std::vector<double> repeated(int64_t repeats, at::Device device, const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) {
    throw_if_stopped(&stop_token());
    seconds.push_back(seconds_of(device, work));
  }
  return seconds;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Bench {
 public:
  Bench(const BenchOptions& options, at::Device device)
      : options_(options),
        model_(models::load_model(options.model, scalar_type(options.common), log_sink())),
        window_(model_.config().max_position_embeddings),
        new_tokens_(decoder_tokens(options.new_tokens, 64, 2, "--new-tokens", model_.config())) {
    memory::piece_length(model_.config(), window_, 0);
    model_.to(device);
    model_.pack_decoder();
  }

  Figure run(const std::string& task) const {
    if (task == "encode") return encode();
    if (task == "decode") return decode();
    return batch();
  }

 private:
  std::vector<memory::DocumentPack> packs(int64_t documents, int64_t tokens) const {
    std::vector<std::vector<memory::Window>> windows;
    for (int64_t d = 0; d < documents; ++d) {
      windows.push_back(memory::cut_windows(
          model_.config(), made_up_document(tokens, model_.config().vocab_size, d), window_));
    }
    return memory::pack_documents(std::move(windows));
  }

  // Ends are ruled out, so that every run writes as many tokens.
  generate::GenerationConfig generation(int64_t new_tokens) const {
    generate::GenerationConfig config;
    config.num_beams = options_.num_beams;
    config.max_length = config.min_length = new_tokens + 1;
    config.decoder_start_token_id = model_.config().decoder_start_token_id;
    config.eos_token_id = {model_.config().eos_token_id};
    return config;
  }

  Figure encode() const {
    const std::vector<memory::DocumentPack> pack = packs(1, options_.windows * (window_ - 2));
    Figure figure{"encode", "tokens/s"};
    figure.seconds =
        repeated(options_.repeats, model_.device(), [&] { memory::encode_pack(model_, pack.front(), {}); });
    figure.value = static_cast<double>(options_.windows * window_) / median(figure.seconds);
    return figure;
  }

  Figure decode() const {
    const std::vector<memory::DocumentPack> pack = packs(1, window_ - 2);
    memory::DecodingCrossAttention attention(memory::encode_pack(model_, pack.front(), {}),
                                             model_.config().decoder_layers);
    const auto write = [&](int64_t new_tokens) {
      const generate::GenerationConfig config = generation(new_tokens);
      generate::generate(model_, attention, generate::searched_documents(config, pack.front()), config);
    };
    // What a step costs beyond the start: the second half of the tokens.
    const int64_t half = new_tokens_ / 2;
    write(new_tokens_);
    Figure figure{"decode", "ms/step"};
    for (int64_t i = 0; i < options_.repeats; ++i) {
      throw_if_stopped(&stop_token());
      const double first = seconds_of(model_.device(), [&] { write(half); });
      figure.seconds.push_back(seconds_of(model_.device(), [&] { write(new_tokens_); }) - first);
    }
    figure.value = 1000 * median(figure.seconds) / static_cast<double>(new_tokens_ - half);
    return figure;
  }

  Figure batch() const {
    const int64_t tokens =
        options_.source_tokens > 0 ? options_.source_tokens : std::max<int64_t>(1, window_ / 2 - 2);
    Figure figure{"batch", "documents/s"};
    figure.seconds = repeated(options_.repeats, model_.device(), [&] {
      for (const memory::DocumentPack& pack : packs(options_.documents, tokens)) {
        memory::DecodingCrossAttention attention(memory::encode_pack(model_, pack, {}),
                                                 model_.config().decoder_layers);
        const generate::GenerationConfig config = generation(new_tokens_);
        generate::generate(model_, attention, generate::searched_documents(config, pack), config);
      }
    });
    figure.value = static_cast<double>(options_.documents) / median(figure.seconds);
    return figure;
  }

  const BenchOptions& options_;
  models::BartModel model_;
  int64_t window_;
  int64_t new_tokens_;
};

// 16 bits are for arithmetic: weights, gradients and the optimiser's state stay float32.
Figure train_step(const BenchOptions& options, at::Device device) {
  const at::ScalarType type = scalar_type(options.common);
  models::BartModel model =
      models::load_model(options.model, type == at::kBFloat16 ? at::kFloat : type, log_sink());
  model.to(device);
  model.compute_in(type);
  model.set_requires_grad(true);
  const int64_t vocabulary = model.config().vocab_size;
  const int64_t target =
      decoder_tokens(options.train_target_tokens, 128, 1, "--train-target-tokens", model.config());
  const std::vector<memory::Example> examples = {
      {.document = made_up_document(options.train_source_tokens, vocabulary, 0),
       .target = made_up_document(target, vocabulary, 1).text,
       .id = "made up"}};
  const train::UpdateDocuments documents = train::documents_of(examples);
  train::UpdateOptions update;
  update.gradient.window = model.config().max_position_embeddings;
  memory::PlanRequest request{.schedule = memory::parse_schedule(options.train_schedule)};
  request.cost.window = update.gradient.window;
  request.training = {.longest_document = options.train_source_tokens, .longest_target = target};
  if (!options.common.memory_budget.empty()) {
    request.budget = parse_bytes(options.common.memory_budget, "--memory-budget", ErrorKind::kUsage);
  }
  const memory::MemoryPlan plan = memory::plan_memory(model, request);
  memory::check_budget(plan);
  log(log_sink(), LogLevel::kInfo, plan.describe());
  train::Optimizer optimizer(model.parameters(), {});  // behind the plan, which counts what stands already
  update.gradient.way = plan.way;
  update.gradient.bytes = plan.step_bytes;
  update.clip_norm = 1.0;
  update.learning_rate = 1e-5;
  Figure figure{"train", "s/step"};
  figure.seconds = repeated(options.repeats, device,
                            [&] { train::apply_update(model, optimizer, documents, update, &stop_token()); });
  figure.value = median(figure.seconds);
  return figure;
}

Figure tokenize(const BenchOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::string text = read_file(options.text, ErrorKind::kData, kMaxWholeFile, &stop_token());
  if (const size_t invalid = find_invalid_utf8(text); invalid != std::string::npos) {
    throw Error(ErrorKind::kData, {.what = "the text is not valid UTF-8",
                                   .where = options.text,
                                   .found = describe_invalid_utf8(text, invalid)});
  }
  Figure figure{"tokenize", "MB/s"};
  figure.seconds = repeated(options.repeats, at::kCPU, [&] { tokenizer.encode(text, {.offsets = false}); });
  figure.value = static_cast<double>(text.size()) / 1e6 / median(figure.seconds);
  return figure;
}

void bench(const BenchOptions& options) {
  apply_common_options(options.common);
  const bool trains_alone = options.tasks == std::vector<std::string>{"train"};
  if (!trains_alone) refuse_memory_budget(options.common, "bench");
  const at::Device device = compute_device(options.common, parallel::one_rank());
  Json figures = Json::array();
  std::unique_ptr<Bench> model;
  for (const std::string& task : options.tasks) {
    Figure figure;
    if (task == "tokenize") {
      if (options.text.empty()) {
        throw Error(ErrorKind::kUsage, {.what = "the task tokenize needs a text", .where = "--text"});
      }
      figure = tokenize(options);
    } else if (task == "train") {
      figure = train_step(options, device);
    } else {
      if (!model) model = std::make_unique<Bench>(options, device);
      figure = model->run(task);
    }
    if (options.format == "json") {
      figures.push_back({{"task", figure.task},
                         {"unit", figure.unit},
                         {"value", figure.value},
                         {"seconds", figure.seconds},
                         {"peak_memory_bytes", nn::peak_bytes(device)}});
    } else {
      char line[96];
      std::snprintf(line, sizeof line, "%-10s %12.2f %s\n", figure.task.c_str(), figure.value,
                    figure.unit.c_str());
      write_result(line);
      flush_results();
    }
  }
  if (options.format == "json") {
    write_result(dump_json({{"program", std::string("precis ") + PRECIS_VERSION},
                            {"device", device.str()},
                            {"threads", at::get_num_threads()},
                            {"dtype", options.common.dtype.value_or("float32")},
                            {"figures", std::move(figures)}},
                           2) +
                 "\n");
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure the speed of the parts on this machine");
  command->add_option("model", options->model, "A model directory")->required()->check(not_empty());
  command->add_option("--tasks", options->tasks, "encode, decode, batch, train, tokenize")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"encode", "decode", "batch", "train", "tokenize"}))
      ->capture_default_str();
  command->add_option("--text", options->text, "What `tokenize` reads");
  const auto count = [&](const char* name, auto& value, int64_t least, int64_t most, const char* help) {
    return command->add_option(name, value, help)->check(whole_number())->check(CLI::Range(least, most));
  };
  constexpr int64_t kMostTokens = int64_t{1} << 24, kMostRows = 1024;
  count("--windows", options->windows, 1, kMostRows, "encode: full windows")->capture_default_str();
  count("--num-beams", options->num_beams, 1, kMostRows, "decode, batch: beams")->capture_default_str();
  count("--new-tokens", options->new_tokens, 2, kMostTokens,
        "decode, batch: tokens written (default: 64, or what the decoder has positions for)");
  count("--documents", options->documents, 1, kMostRows, "batch: documents")->capture_default_str();
  count("--source-tokens", options->source_tokens, 0, kMostTokens,
        "batch: tokens a document; 0 is half a window")
      ->capture_default_str();
  count("--train-source-tokens", options->train_source_tokens, 1, kMostTokens,
        "train: tokens of the document")
      ->capture_default_str();
  count("--train-target-tokens", options->train_target_tokens, 1, kMostTokens,
        "train: tokens of its summary (default: 128, or what the decoder has positions for)");
  command->add_option("--train-schedule", options->train_schedule, "train: encoder.schedule")
      ->check(CLI::IsMember({"auto", "kept", "cached", "streamed", "two_sweep"}))
      ->capture_default_str();
  count("--repeats", options->repeats, 1, 1'000'000, "Runs of each task after a first one; the median counts")
      ->capture_default_str();
  command->add_option("--format", options->format, "How the figures are printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  add_common_options(*command, options->common);
  command->footer("Example: precis bench models/my-bart --tasks encode,decode --threads 2");
  command->callback([options] { bench(*options); });
}

}  // namespace precis::cli
