// Reading ahead.
#include "cli/document_batches.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "cli/program.h"
#include "evaluate/examples.h"

namespace precis::cli {

namespace {

// Whether reading on can be counted on not to wait for somebody who writes.
bool at_hand(const std::string& file) {
  if (file != "-") {
    std::error_code ignored;
    return std::filesystem::is_regular_file(file, ignored);
  }
  struct stat status = {};
  if (fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode)) return true;
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, 0) > 0;
}

}  // namespace

DocumentBatches::DocumentBatches(std::vector<std::string> files, const DocumentOptions& options,
                                 std::optional<std::string> query, const Tokenizer& tokenizer,
                                 const models::BartConfig& model, int64_t window, BatchBounds bounds)
    : files_(std::move(files)),
      options_(options),
      query_(std::move(query)),
      tokenizer_(tokenizer),
      model_(model),
      window_(window),
      bounds_(bounds) {}

// The next document of the file that is read; nothing at its end, behind which the next file is.
std::optional<ReadDocument> DocumentBatches::read() {
  const auto start = std::chrono::steady_clock::now();
  if (!reader_) reader_.emplace(files_[file_], options_);
  std::optional<Document> document = reader_->next();
  if (!document) {
    notify_reading(*reader_, files_[file_]);
    reader_.reset();
    ++file_;
    return std::nullopt;
  }
  ReadDocument result;
  result.document = std::move(*document);
  if (query_) result.document.query = query_;
  result.tokens = evaluate::tokenize_document(result.document, tokenizer_, model_, window_);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::vector<ReadDocument> DocumentBatches::next() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  std::vector<ReadDocument> batch;
  int64_t tokens = 0;
  while (file_ < files_.size() && static_cast<int64_t>(batch.size()) < bounds_.documents &&
         tokens < bounds_.tokens) {
    if (!batch.empty() && !at_hand(files_[file_])) break;
    try {
      std::optional<ReadDocument> document = read();
      if (!document) continue;
      tokens += static_cast<int64_t>(document->tokens.text.size());
      batch.push_back(std::move(*document));
    } catch (const Error& error) {
      const bool stopped = error.kind() == ErrorKind::kInterrupted || error.kind() == ErrorKind::kTerminated;
      if (batch.empty() || stopped) throw;
      error_ = std::current_exception();
      break;
    }
  }
  return batch;
}

}  // namespace precis::cli
