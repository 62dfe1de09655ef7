// Documents of files, read and tokenized a bounded number ahead, so that several can be summarized at once.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "data/documents.h"
#include "memory/windows.h"
#include "models/bart/bart_config.h"
#include "text/tokenizer.h"

namespace precis::cli {

struct ReadDocument {
  Document document;
  memory::DocumentTokens tokens;
  double seconds = 0.0;  // that reading and tokenizing it took
};

// A batch is full with the document that reaches either.
struct BatchBounds {
  int64_t documents = 64;
  int64_t tokens = int64_t{1} << 16;  // of texts
};

class DocumentBatches {
 public:
  // `query` goes before every document; nothing: its own. The tokenizer must outlive this.
  DocumentBatches(std::vector<std::string> files, const DocumentOptions& options,
                  std::optional<std::string> query, const Tokenizer& tokenizer,
                  const models::BartConfig& model, int64_t window, BatchBounds bounds);

  // The next documents, in order; empty at the end. A batch of a pipe holds what is there already: nothing
  // waits for a document that is still to be written. An error is thrown once the documents before it have
  // been returned, a stop at once. Tells of what a file's reading left out or replaced at its end.
  std::vector<ReadDocument> next();

 private:
  std::optional<ReadDocument> read();

  std::vector<std::string> files_;
  DocumentOptions options_;
  std::optional<std::string> query_;
  const Tokenizer& tokenizer_;
  models::BartConfig model_;
  int64_t window_;
  BatchBounds bounds_;
  size_t file_ = 0;  // the one that is read, or the next
  std::optional<DocumentReader> reader_;
  std::exception_ptr error_;
};

}  // namespace precis::cli
