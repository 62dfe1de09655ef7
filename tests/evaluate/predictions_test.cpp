// Two files joined by id: every pair once, and whatever can't be paired is named.
#include "evaluate/predictions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"

namespace precis::evaluate {
namespace {

using ::testing::HasSubstr;

class Predictions : public testing::Test {
 protected:
  Report score(const std::string& predictions, const std::string& references, const std::string& field = "") {
    Scores scores({.rouge = true, .qa = true});
    counts_ = score_predictions(
        {folder_.write("p.jsonl", predictions), folder_.write("r.jsonl", references), field}, scores);
    return scores.report();
  }

  std::string error_of(const std::string& predictions, const std::string& references) {
    return precis::error_of([&] { score(predictions, references); }, ErrorKind::kData);
  }

  TemporaryDirectory folder_;
  ScoredPairs counts_;
};

constexpr const char* kTwo =
    "{\"id\": \"a\", \"summary\": \"one two\"}\n{\"id\": 2, \"summaries\": [\"x\", \"three\"]}\n";

TEST_F(Predictions, AreJoinedByIdWhateverTheirOrder) {
  const Report report = score(
      "{\"id\": \"2\", \"summary\": \"three\"}\n\n{\"id\": \"a\", \"prediction\": \"one\", \"summary\": 1}\n",
      kTwo);
  EXPECT_EQ(report.documents, 2);
  EXPECT_EQ(counts_.pairs, 2);
  // Precisions 1 and 1, recalls 1/2 and 1.
  EXPECT_DOUBLE_EQ((*report.rouge)[0].precision, 1.0);
  EXPECT_DOUBLE_EQ((*report.rouge)[0].recall, 0.75);
  EXPECT_DOUBLE_EQ((*report.rouge)[0].fmeasure.value, (2.0 / 3 + 1) / 2);
  EXPECT_DOUBLE_EQ(report.exact_match->value, 50.0);
  EXPECT_DOUBLE_EQ(report.f1->value, 100 * (2.0 / 3 + 1) / 2);
  EXPECT_FALSE(report.loss);
}

TEST_F(Predictions, TheReferencesFieldCanBeNamed) {
  const Report report = score("{\"id\": 1, \"prediction\": \"b\"}",
                              "{\"id\": 1, \"summary\": \"a\", \"abstract\": \"b\"}", "abstract");
  EXPECT_DOUBLE_EQ((*report.rouge)[0].fmeasure.value, 1.0);
}

TEST_F(Predictions, EmptyReferencesAreCounted) {
  const Report report = score("{\"id\": 1, \"prediction\": \"b\"}", "{\"id\": 1, \"summary\": \"\"}");
  EXPECT_EQ(counts_.empty_references, 1);
  EXPECT_DOUBLE_EQ((*report.rouge)[0].fmeasure.value, 0.0);
}

TEST_F(Predictions, WhatCantBePairedIsNamed) {
  const std::string a = "{\"id\": \"a\", \"prediction\": \"p\"}\n",
                    b = "{\"id\": 2, \"prediction\": \"p\"}\n";
  EXPECT_THAT(error_of(a, kTwo), HasSubstr("r.jsonl:2: no prediction for the id '2'"));
  EXPECT_THAT(error_of(a + b + "{\"id\": 3, \"prediction\": \"\"}", kTwo),
              HasSubstr("p.jsonl:3: no reference for the row's id"));
  EXPECT_THAT(error_of(a + b + b, kTwo), HasSubstr("p.jsonl:3: the id '2' is there twice"));
  EXPECT_THAT(error_of(a + b, std::string(kTwo) + kTwo), HasSubstr("r.jsonl:3: the id 'a' is there twice"));
  EXPECT_THAT(error_of("{\"prediction\": \"p\"}", kTwo), HasSubstr("p.jsonl:1: no field 'id'"));
  EXPECT_THAT(error_of(a + b, "{\"summary\": \"s\"}"), HasSubstr("r.jsonl:1: no field 'id'"));
  EXPECT_THAT(error_of("{\"id\": 1}", kTwo), HasSubstr("p.jsonl:1: no prediction in the row"));
  EXPECT_THAT(error_of("{\"id\": 1, \"prediction\": 4}", kTwo),
              HasSubstr("p.jsonl:1: bad field 'prediction'"));
  EXPECT_THAT(error_of(a, "{\"id\": \"a\"}"), HasSubstr("r.jsonl:1: no field 'summary'"));
  EXPECT_THAT(error_of(a, "{\"id\": \"a\", \"summaries\": []}"), HasSubstr("r.jsonl:1: no reference"));
  EXPECT_THAT(error_of("", ""), HasSubstr("r.jsonl: no rows to score"));
}

}  // namespace
}  // namespace precis::evaluate
