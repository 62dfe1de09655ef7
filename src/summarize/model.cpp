// The public interface on top of the summarizer: settings to JSON, exceptions to Error.
#include "precis/model.h"

#include <utility>

#include "generate/generation_config.h"
#include "models/weights.h"
#include "nn/device.h"
#include "summarize/summarizer.h"

namespace precis {

namespace {

at::ScalarType scalar_type(const std::string& dtype) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    if (models::dtype_name(type) == dtype) return type;
  }
  throw Error(ErrorKind::kUsage, {.what = "there is no such type of weights",
                                  .where = "dtype",
                                  .expected = "float32, bfloat16 or float64",
                                  .found = dtype});
}

at::Device device_of(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return nn::find_device(name, 0, "device");
  throw Error(
      ErrorKind::kUsage,
      {.what = "there is no such device", .where = "device", .expected = "auto, cpu or cuda", .found = name});
}

Json json_of(const std::string& key, const GenerationValue& value) {
  return std::visit(
      [&](const auto& typed) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(typed)>, JsonText>) {
          return parse_json(typed.text, key, ErrorKind::kUsage);
        } else {
          return typed;
        }
      },
      value);
}

// Whatever is thrown below leaves as an Error.
template <class Work>
auto with_errors(const Work& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& exception) {
    throw as_error(exception);
  }
}

}  // namespace

struct Model::Implementation {
  summarize::LoadedModel model;
};

Model::Model(std::shared_ptr<const Implementation> implementation)
    : implementation_(std::move(implementation)) {}

Model Model::load(const std::filesystem::path& directory, const ModelOptions& options) {
  return with_errors([&] {
    return Model(std::make_shared<const Implementation>(Implementation{summarize::load_model(
        directory, scalar_type(options.dtype), device_of(options.device), options.log)}));
  });
}

const Tokenizer& Model::tokenizer() const { return implementation_->model.tokenizer; }

int64_t Model::positions() const { return implementation_->model.model.config().max_position_embeddings; }

Summary Model::summarize(const std::string& text, const SummarizeOptions& options) const {
  return std::move(summarize_all({text}, options).front());
}

std::vector<Summary> Model::summarize_all(const std::vector<std::string>& texts,
                                          const SummarizeOptions& options) const {
  return with_errors([&] {
    summarize::SummarizerOptions of_all = {
        .window = options.window, .explain = options.explain, .memory_budget = options.memory_budget};
    for (const auto& [key, value] : options.generation) of_all.generation[key] = json_of(key, value);
    generate::check_option_names(of_all.generation);
    if (options.query) summarize::check_query(*options.query, "query");
    summarize::Summarizer summarizer(implementation_->model, of_all, options.log, options.stop);

    std::vector<Summary> summaries;
    summarize::Callbacks callbacks;
    callbacks.take = [&](const Summary& summary, const std::string&) { summaries.push_back(summary); };
    callbacks.progress = options.progress;
    const summarize::BatchBounds bounds = summarizer.batch_bounds();
    for (size_t next = 0; next < texts.size();) {
      std::vector<summarize::ReadDocument> batch;
      for (int64_t tokens = 0; next < texts.size() && !bounds.full(batch.size(), tokens); ++next) {
        const std::string id = std::to_string(next + 1);
        batch.push_back(summarizer.tokenize(
            {.id = id, .text = texts[next], .query = options.query, .where = "text " + id}));
        tokens += static_cast<int64_t>(batch.back().tokens.text.size());
      }
      summarizer.summarize(std::move(batch), callbacks);
    }
    return summaries;
  });
}

}  // namespace precis
