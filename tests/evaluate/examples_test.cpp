// Rows as ids: the first summary between BOS and EOS, and nothing left out or cut unasked or uncounted.
#include "evaluate/examples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"
#include "text/bpe_trainer.h"

namespace precis::evaluate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Examples : public testing::Test {
 protected:
  // Bytes alone, without merges: a text of n ASCII letters is n tokens.
  static Tokenizer byte_tokenizer() {
    const TemporaryDirectory folder;
    BpeTrainer trainer;
    for (const TokenizerFile& file : tokenizer_files(trainer.train(BpeTrainer::kSmallestVocabulary))) {
      folder.write(file.name, file.bytes);
    }
    return Tokenizer::load(folder.path());
  }

  Examples() : tokenizer_(byte_tokenizer()) { config_.vocab_size = tokenizer_.id_limit(); }

  int32_t id(char c) const { return *tokenizer_.token_to_id(std::string(1, c)); }

  std::optional<memory::Example> make(const Document& document, const ExampleOptions& options = {}) {
    return make_example(document, tokenizer_, config_, options, counts_);
  }

  std::string error_of(const Document& document, ErrorKind kind, const ExampleOptions& options = {}) {
    return precis::error_of([&] { make(document, options); }, kind);
  }

  Tokenizer tokenizer_;
  models::BartConfig config_;
  ExampleCounts counts_;
};

Document row(std::vector<std::string> summaries) {
  return {.id = "r7", .text = "ab", .query = "q", .summaries = std::move(summaries), .where = "d.jsonl:3"};
}

TEST_F(Examples, TheFirstSummaryIsTheTarget) {
  const auto example = make(row({"xyz", "other"}));
  ASSERT_TRUE(example);
  EXPECT_EQ(example->id, "r7");
  EXPECT_THAT(example->document.text, ElementsAre(id('a'), id('b')));
  EXPECT_THAT(example->document.query, ElementsAre(id('q')));
  EXPECT_THAT(example->target, ElementsAre(0, id('x'), id('y'), id('z'), 2));
  EXPECT_EQ(counts_.examples, 1);
}

TEST_F(Examples, ARowWithoutATargetIsNamedOrSkippedAndCounted) {
  for (const Document& document : {row({}), row({""}), row({"", "x"})}) {
    EXPECT_THAT(error_of(document, ErrorKind::kData), HasSubstr("d.jsonl:3: row 'r7' has no summary"));
    EXPECT_FALSE(make(document, {.skip_empty_summaries = true}));
  }
  EXPECT_EQ(counts_.skipped_without_summary, 3);
  EXPECT_EQ(counts_.examples, 0);
}

TEST_F(Examples, ALongTargetIsAnErrorOrCutAndCounted) {
  EXPECT_TRUE(make(row({"xyz"}), {.max_target_tokens = 5}));
  EXPECT_EQ(counts_.truncated_targets, 0);
  const std::string message = error_of(row({"xyz"}), ErrorKind::kData,
                                       {.max_target_tokens = 4,
                                        .length_setting = "--max-target-tokens",
                                        .truncate_setting = "--target-overflow truncate"});
  EXPECT_THAT(message, HasSubstr("d.jsonl:3: the summary of row 'r7' is too long"));
  EXPECT_THAT(message, HasSubstr("(--max-target-tokens), found 5"));
  EXPECT_THAT(message, HasSubstr("--target-overflow truncate"));
  const auto cut = make(row({"xyz"}), {.max_target_tokens = 4, .truncate_long_targets = true});
  EXPECT_THAT(cut->target, ElementsAre(0, id('x'), id('y'), 2));
  EXPECT_EQ(counts_.truncated_targets, 1);
}

TEST_F(Examples, AnIdBeyondTheModelIsTheModelsFault) {
  config_.vocab_size = id('z');
  EXPECT_THAT(error_of(row({"xyz"}), ErrorKind::kModel), HasSubstr("found " + std::to_string(id('z'))));
}

}  // namespace
}  // namespace precis::evaluate
