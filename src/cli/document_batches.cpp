// Reading ahead.
#include "cli/document_batches.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "cli/program.h"

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
                                 std::optional<std::string> query, const summarize::Summarizer& summarizer,
                                 summarize::BatchBounds bounds)
    : files_(std::move(files)),
      options_(options),
      query_(std::move(query)),
      summarizer_(summarizer),
      bounds_(bounds) {}

// The next document of the file that is read; nothing at its end, behind which the next file is.
std::optional<summarize::ReadDocument> DocumentBatches::read() {
  const auto start = std::chrono::steady_clock::now();
  if (!reader_) reader_.emplace(files_[file_], options_);
  std::optional<Document> document = reader_->next();
  if (!document) {
    notify_reading(*reader_, files_[file_]);
    reader_.reset();
    ++file_;
    return std::nullopt;
  }
  if (query_) document->query = query_;
  summarize::ReadDocument result = summarizer_.tokenize(*std::move(document));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::vector<summarize::ReadDocument> DocumentBatches::next() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  std::vector<summarize::ReadDocument> batch;
  int64_t tokens = 0;
  while (file_ < files_.size() && !bounds_.full(batch.size(), tokens)) {
    if (!batch.empty() && !at_hand(files_[file_])) break;
    try {
      std::optional<summarize::ReadDocument> document = read();
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
