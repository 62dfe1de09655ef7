// Documents of files, read and tokenized a bounded number ahead, so that several can be summarized at once.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "data/documents.h"
#include "summarize/summarizer.h"

namespace precis::cli {

class DocumentBatches {
 public:
  // `query` goes before every document; nothing: its own. The summarizer must outlive this.
  DocumentBatches(std::vector<std::string> files, const DocumentOptions& options,
                  std::optional<std::string> query, const summarize::Summarizer& summarizer,
                  summarize::BatchBounds bounds);

  // The next documents, in order; empty at the end. A batch of a pipe holds what is there already: nothing
  // waits for a document that is still to be written. An error is thrown once the documents before it have
  // been returned, a stop at once. Tells of what a file's reading left out or replaced at its end.
  std::vector<summarize::ReadDocument> next();

 private:
  std::optional<summarize::ReadDocument> read();

  std::vector<std::string> files_;
  DocumentOptions options_;
  std::optional<std::string> query_;
  const summarize::Summarizer& summarizer_;
  summarize::BatchBounds bounds_;
  size_t file_ = 0;  // the one that is read, or the next
  std::optional<DocumentReader> reader_;
  std::exception_ptr error_;
};

}  // namespace precis::cli
