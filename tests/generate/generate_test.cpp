// What a search is told of documents that were cut into windows.
#include "generate/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace precis::generate {
namespace {

using ::testing::IsEmpty;

models::BartConfig bart() {
  models::BartConfig config;
  config.vocab_size = 100;
  config.max_position_embeddings = 16;
  config.bos_token_id = 0;
  config.eos_token_id = 2;
  return config;
}

memory::DocumentPack pack_of(const std::vector<memory::DocumentTokens>& documents, int64_t window) {
  std::vector<std::vector<memory::Window>> windows;
  for (const memory::DocumentTokens& document : documents) {
    windows.push_back(memory::cut_windows(bart(), document, window));
  }
  return memory::pack_documents(std::move(windows)).at(0);
}

TEST(Generate, DocumentsAtOnceAreBoundedByTheirSequences) {
  const auto documents = [](int64_t beams, int64_t sampled) {
    GenerationConfig config;
    config.num_beams = beams;
    config.num_return_sequences = sampled;
    return documents_at_once(config);
  };
  EXPECT_EQ(documents(1, 1), 256);
  EXPECT_EQ(documents(4, 4), 64);
  EXPECT_EQ(documents(1, 100), 2);
  EXPECT_EQ(documents(1024, 1), 1);
}

TEST(SearchedDocuments, AreReadAsOneWindowWouldHoldThem) {
  GenerationConfig config;
  config.encoder_no_repeat_ngram_size = 2;
  // Windows of four text tokens without a query, of two with one; the last ones are not full.
  const std::vector<memory::DocumentTokens> documents = {
      {{10, 11, 12, 13, 14, 15, 16, 17, 18}, {}}, {{10, 11, 12, 13, 14}, {20, 21}}, {{}, {}}};
  const memory::DocumentPack pack = pack_of(documents, 6);
  const std::vector<SearchedDocument> found = searched_documents(config, pack, 40);
  ASSERT_EQ(found.size(), documents.size());
  for (size_t b = 0; b < found.size(); ++b) {
    const size_t document = static_cast<size_t>(pack.documents[b]);
    EXPECT_EQ(found[b].key, 40 + document);
    TokenSequence whole{0};
    whole.insert(whole.end(), documents[document].query.begin(), documents[document].query.end());
    whole.insert(whole.end(), documents[document].text.begin(), documents[document].text.end());
    whole.push_back(2);
    EXPECT_EQ(found[b].read, whole);
  }
}

TEST(SearchedDocuments, CarryNoIdsThatNoRuleLooksAt) {
  const memory::DocumentPack pack = pack_of({{{10, 11}, {}}}, 6);
  EXPECT_THAT(searched_documents(GenerationConfig(), pack).at(0).read, IsEmpty());
}

}  // namespace
}  // namespace precis::generate
