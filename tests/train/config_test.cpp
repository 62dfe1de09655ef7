// The configuration is strict, and says where each value came from (RELIABILITY, case 22).
#include "train/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"
#include "train/schema.h"

namespace precis::train {
namespace {

using testing::HasSubstr;

constexpr const char* kLeast = "model: m\noutput: o\ndata: {train: [a.jsonl]}\n";

TrainConfig parse(const std::string& rest, const std::vector<std::string>& overrides = {}) {
  return parse_config(kLeast + rest, "c.yaml", overrides);
}

std::string refusal(const std::string& rest, const std::vector<std::string>& overrides = {},
                    ErrorKind kind = ErrorKind::kConfig) {
  EXPECT_EQ(exit_code(kind), 2);
  const std::string message = precis::error_of([&] { parse(rest, overrides); }, kind);
  EXPECT_NE(message, "no error");
  return message;
}

TEST(Config, DefaultsAreTheContracts) {
  const TrainConfig config = parse("");
  EXPECT_EQ(config.steps, 1000);
  EXPECT_EQ(config.seed, 1);
  EXPECT_FALSE(config.window.has_value());
  EXPECT_EQ(config.optimizer.learning_rate, 1e-4);
  EXPECT_EQ(config.optimizer.weight_decay, 0.01);
  EXPECT_EQ(config.schedule.name, "linear");
  EXPECT_EQ(config.validation.metric, "rouge1");
  EXPECT_EQ(config.checkpoint.keep, 2);
}

TEST(Config, CommandLineOverridesTheFile) {
  const TrainConfig config =
      parse("optimizer: {learning_rate: 1e-3, betas: [0.9, 0.98]}\nepochs: 3\n",
            {"optimizer.learning_rate=5.0e-4", "steps=7", "data.train=b.jsonl", "data.validation=[c, d]",
             "output=2024", "encoder.memory_budget=8GiB", "dropout=null", "window=512"});
  EXPECT_EQ(config.optimizer.learning_rate, 5e-4);
  EXPECT_EQ(config.optimizer.betas, (std::vector<double>{0.9, 0.98}));
  EXPECT_EQ(config.steps, 7);
  EXPECT_FALSE(config.epochs.has_value());
  EXPECT_THAT(config_to_yaml(config, true), HasSubstr("epochs: null  # default\n"));
  EXPECT_EQ(config.data.train, std::vector<std::string>{"b.jsonl"});
  EXPECT_EQ(config.data.validation, (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(config.output, "2024");
  EXPECT_EQ(config.encoder.memory_budget, int64_t{8} << 30);
  EXPECT_EQ(config.window, 512);
}

TEST(Config, EachValueSaysWhereItCameFrom) {
  const std::string shown = config_to_yaml(parse("seed: 5\nbatch:\n  documents: 2\n", {"steps=9"}), true);
  EXPECT_THAT(shown, HasSubstr("seed: 5  # c.yaml:4\n"));
  EXPECT_THAT(shown, HasSubstr("  documents: 2  # c.yaml:6\n"));
  EXPECT_THAT(shown, HasSubstr("steps: 9  # command line\n"));
  EXPECT_THAT(shown, HasSubstr("  learning_rate: 0.0001  # default\n"));
}

TEST(Config, EffectiveConfigurationReadsBackToItself) {
  const TrainConfig config = parse(
      "optimizer: {eps: 1e-12, learning_rate: 3}\ntime_limit: 2.5\ndropout: 0\nvalidation: {generate: "
      "false}\n",
      {"model=a b: #c", "output=yes", "data.document_field=1e3", "data.validation=[\"x,\\ty\", '-']"});
  EXPECT_EQ(config.data.validation, (std::vector<std::string>{"x,\ty", "-"}));
  const TrainConfig again = parse_config(config_to_yaml(config, false), "again.yaml", {});
  EXPECT_EQ(config_to_json(again), config_to_json(config));
  EXPECT_THAT(config_to_yaml(config, false), HasSubstr("eps: 1.0e-12\n"));
}

TEST(Config, MistakesNameKeyFileAndLine) {
  EXPECT_THAT(refusal("sead: 1\n"), HasSubstr("c.yaml:4: unknown key 'sead'"));
  EXPECT_THAT(refusal("sead: 1\n"), HasSubstr("did you mean 'seed'?"));
  EXPECT_THAT(refusal("optimizer: {lerning_rate: 1}\n"),
              HasSubstr("did you mean 'optimizer.learning_rate'?"));
  EXPECT_THAT(refusal("learning_rate: 1\n"), HasSubstr("did you mean 'optimizer.learning_rate'?"));
  EXPECT_THAT(refusal("optimiser: {learning_rate: 1}\n"), HasSubstr("did you mean 'optimizer'?"));
  EXPECT_THAT(refusal("", {"optimizer.rate=1"}), HasSubstr("command line: unknown key"));
  EXPECT_THAT(refusal("optimizer: 3\n"), HasSubstr("c.yaml:4: 'optimizer' is a section"));
  EXPECT_THAT(refusal("seed: {a: 1}\n"), HasSubstr("bad value for 'seed'"));
  EXPECT_THAT(refusal("seed: 1\nseed: 2\n"), HasSubstr("c.yaml:5"));
  EXPECT_THAT(refusal("batch: {documents: 1, documents: 2}\n"), HasSubstr("c.yaml:4"));
}

TEST(Config, TypesAndRangesAreChecked) {
  EXPECT_THAT(refusal("steps: 010\n"), HasSubstr("expected integer >= 1 or null, found '010'"));
  EXPECT_THAT(refusal("steps: 1e-5\n"), HasSubstr("found '1e-5'"));
  EXPECT_THAT(refusal("steps: 2.0\n"), HasSubstr("'steps'"));
  EXPECT_THAT(refusal("steps: 0\n"), HasSubstr("found '0'"));
  EXPECT_THAT(refusal("steps: 99999999999999999999\n"), HasSubstr("'steps'"));
  EXPECT_THAT(refusal("seed: -1\n"), HasSubstr("integer >= 0"));
  EXPECT_THAT(refusal("seed: \"1\"\n"), HasSubstr("found \"1\""));
  EXPECT_THAT(refusal("validation: {generate: yes}\n"), HasSubstr("expected true or false, found 'yes'"));
  EXPECT_THAT(refusal("label_smoothing: 1\n"), HasSubstr("number >= 0 and < 1"));
  EXPECT_THAT(refusal("optimizer: {eps: 1e-60}\n"),
              HasSubstr("number >= 1e-30 and <= 1e+30"));  // 0 in float32
  EXPECT_THAT(refusal("optimizer: {learning_rate: 1e39}\n"), HasSubstr("number >= 0 and <= 1e+30"));
  EXPECT_THAT(refusal("batch: {documents: 1000, accumulation: 1001}\n"),
              HasSubstr("too many documents in one update; expected batch.documents * batch.accumulation <= "
                        "1000000, found 1001000"));
  EXPECT_THAT(refusal("optimizer: {learning_rate: .inf}\n"), HasSubstr("learning_rate"));
  EXPECT_THAT(refusal("optimizer: {betas: [0.9]}\n"), HasSubstr("list of two"));
  EXPECT_THAT(refusal("optimizer: {name: adamx}\n"), HasSubstr("one of adamw, adam, sgd"));
  EXPECT_THAT(refusal("encoder: {memory_budget: 8 parsecs}\n"), HasSubstr("amount of memory"));
  EXPECT_THAT(refusal("window: 2\n"), HasSubstr("integer >= 3 or null"));
  EXPECT_THAT(refusal("model_: m\n"), HasSubstr("unknown key"));
}

TEST(Config, BrokenYamlIsRefused) {
  EXPECT_THAT(refusal("\tseed: 1\n"), HasSubstr("c.yaml:4"));
  EXPECT_THAT(refusal("seed: &a 1\nsteps: *a\n"), HasSubstr("c.yaml:4"));
  EXPECT_THAT(refusal(std::string("seed: 1") + '\0' + "\n"), HasSubstr("c.yaml"));
  EXPECT_THROW(parse_config("[1, 2]", "c.yaml", {}), Error);
}

TEST(Config, RequiredKeysAndContradictions) {
  const auto message = [](const std::string& yaml) -> std::string {
    try {
      parse_config(yaml, "c.yaml", {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(""), HasSubstr("'model' is missing"));
  EXPECT_THAT(message("model: m\ndata: {train: [a]}\n"), HasSubstr("'output' is missing"));
  EXPECT_THAT(message("model: m\noutput: o\n"), HasSubstr("'data.train' is missing"));
  EXPECT_THAT(message("model: m\noutput: o\ndata: {train: []}\n"), HasSubstr("no training files"));
  EXPECT_THAT(refusal("steps: 3\nepochs: 2\n"), HasSubstr("c.yaml:5: epochs: both steps and epochs"));
  EXPECT_THAT(refusal("", {"steps=3", "epochs=2"}), HasSubstr("both steps and epochs"));
  EXPECT_FALSE(parse("steps: null\nepochs: 2\n").steps.has_value());
  // Their product is counted in 64 bits.
  EXPECT_THAT(refusal("batch: {documents: 4294967296, accumulation: 4294967296}\n"), HasSubstr("<= 1000000"));
  EXPECT_THAT(refusal("epochs: 9007199254740992\n"), HasSubstr("<= 1000000"));
}

TEST(Config, AKeyIsSetOnceHoweverItIsSpelled) {
  EXPECT_THAT(refusal("optimizer: {eps: 1.0e-7}\noptimizer.eps: 1.0e-6\n"),
              AllOf(HasSubstr("c.yaml:5: 'optimizer.eps' is set twice"), HasSubstr("c.yaml:4")));
}

TEST(Config, AnAmountOfMemoryMayBeWrittenInEveryWay) {
  for (const char* amount : {"6e9", "6000000000", "6.0e9", "6GB"}) {
    EXPECT_EQ(parse("", {std::string("encoder.memory_budget=") + amount}).encoder.memory_budget,
              6'000'000'000);
  }
  EXPECT_THAT(refusal("", {"encoder.memory_budget=1.5"}), HasSubstr("an amount of memory"));
  EXPECT_THAT(refusal("", {"encoder.memory_budget=1e300"}), HasSubstr("an amount of memory"));
}

TEST(Config, WhatIsNotBuiltIsRefused) {
  EXPECT_THAT(refusal("objective: reconstruct\n", {}, ErrorKind::kUnsupported), HasSubstr("not built yet"));
  EXPECT_THAT(refusal("objective: reconstruct\n", {}, ErrorKind::kUnsupported),
              HasSubstr("c.yaml:4: objective"));
  refusal("", {"encoder.schedule=layer_synchronous"}, ErrorKind::kUnsupported);
}

TEST(Config, AnObjectiveRefusesWhatItHasNoUseFor) {
  const std::string denoise = "objective: denoise\n";
  EXPECT_THAT(refusal("denoise: {mask_ratio: 0.5}\n"), HasSubstr("c.yaml:4: denoise.mask_ratio"));
  EXPECT_THAT(refusal(denoise + "target_overflow: truncate\n"), HasSubstr("c.yaml:5: target_overflow"));
  EXPECT_THAT(refusal(denoise, {"data.query_field=q"}), HasSubstr("data.query_field"));
  EXPECT_THAT(refusal(denoise + "validation: {generate: true}\n"), HasSubstr("writes no summaries"));
  EXPECT_THAT(refusal(denoise + "max_target_tokens: 2\n"), HasSubstr("no room for a piece"));
  EXPECT_THAT(refusal(denoise + "denoise: {poisson_lambda: 0}\n"), HasSubstr("number >= 0.1 and <= 100"));
  EXPECT_THAT(refusal(denoise + "denoise: {mask_ratio: 1.1}\n"), HasSubstr("number >= 0 and <= 1"));
  // What is written out with every key reads back, whichever the objective.
  for (const std::string& rest : {std::string(), denoise}) {
    const TrainConfig config = parse(rest);
    EXPECT_EQ(config.validation.generate, rest.empty());
    EXPECT_EQ(config_to_json(parse_config(config_to_yaml(config, false), "again.yaml", {})),
              config_to_json(config));
  }
  EXPECT_EQ(parse(denoise + "validation: {metric: rouge1}\n").effective_metric(), "loss");
}

TEST(Config, EarlyStoppingNeedsValidations) {
  const std::string patience = "early_stopping: {patience: 3}\n";
  EXPECT_THAT(refusal(patience), HasSubstr("c.yaml:4: early_stopping.patience: nothing is validated"));
  EXPECT_THAT(refusal(patience + "validation: {every: 0}\n", {"data.validation=v.jsonl"}),
              HasSubstr("nothing is validated"));
  EXPECT_EQ(parse(patience, {"data.validation=v.jsonl"}).early_stopping.patience, 3);
  EXPECT_FALSE(parse("").early_stopping.patience.has_value());
}

TEST(Config, EveryKeyIsDocumented) {
  for (const ConfigKey& key : config_schema()) {
    EXPECT_FALSE(key.doc.empty()) << key.name;
    EXPECT_THAT(schema_help(), HasSubstr(key.name + ": " + key.type));
    if (!key.required) {  // a default is a value that the key accepts
      TrainConfig config;
      EXPECT_TRUE(key.set(config, key.get(config))) << key.name;
    }
  }
}

TEST(Config, ThePageOfTheDocumentationIsThisSchemas) {
  const std::filesystem::path page = PRECIS_DOCS "/configuration.md";
  const std::string text = bytes_of(page);
  const std::string mark = "<!-- The schema's own table: ";
  const std::string head = text.substr(0, text.find(mark));
  const std::string wanted = head + mark +
                             "build/release/tests/test_train writes it under PRECIS_WRITE_DOCS=1. -->\n\n" +
                             schema_markdown();
  if (std::getenv("PRECIS_WRITE_DOCS") != nullptr) std::ofstream(page) << wanted;
  EXPECT_TRUE(bytes_of(page) == wanted) << page << " is old: run test_train with PRECIS_WRITE_DOCS=1";
}

}  // namespace
}  // namespace precis::train
