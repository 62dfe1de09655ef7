// Documents from text, Markdown and JSON Lines files, also compressed, one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stop.h"

namespace precis {

struct Document {
  std::string id;    // the row's `id`, else its line; of a text file the path as given, or "-"
  std::string text;  // valid UTF-8
  std::optional<std::string> query;
  std::vector<std::string> summaries;  // references; empty where the row has none
  int64_t line = 1;                    // from 1
  std::string where;                   // "file:line", for errors about this document
};

enum class InputFormat { kAuto, kText, kJsonLines };
// "text" or "jsonl"; anything else is Error{kUsage}.
InputFormat parse_input_format(const std::string& text);

// "error" -> 0, "skip:N" -> N (DocumentOptions::skip_bad_lines); nothing for any other text.
std::optional<int64_t> parse_on_bad_line(std::string_view text);

struct DocumentOptions {
  InputFormat format = InputFormat::kAuto;  // by extension: .jsonl and .ndjson, all else is text, stdin too
  // Names of fields; empty: `document` with `summary` or `summaries`, or one of the common pairs
  // article/highlights, article/abstract, report/summary. A field named here must be in every row.
  std::string document_field;
  std::string summary_field;
  std::string query_field;                    // empty: `query` where a row has it
  bool summaries = true;                      // false: whatever fields hold them is not looked at
  bool replace_invalid_utf8 = false;          // U+FFFD, counted; else Error{kData} with the byte offset
  int64_t skip_bad_lines = 0;                 // up to so many bad rows of a file are left out and counted
  int64_t max_line_bytes = int64_t{1} << 30;  // of a line, or of a whole text
  const StopToken* stop = nullptr;            // ends a wait for input, as Error of its reason
};

// Reads in order, in memory bounded by the longest document. Every error is Error{kData} at
// "file:line:column" or "file:line" (a failing disk is Error{kIo}); after one, the reader is at the next
// line.
class DocumentReader {
 public:
  // "-" is standard input.
  explicit DocumentReader(const std::filesystem::path& path, DocumentOptions options = {});
  DocumentReader(DocumentReader&&) noexcept;
  DocumentReader& operator=(DocumentReader&&) noexcept;
  ~DocumentReader();

  // The next document; nothing at the end.
  std::optional<Document> next();

  int64_t skipped_lines() const;   // bad rows left out
  int64_t replaced_bytes() const;  // stretches of invalid UTF-8, and lone surrogates, replaced
  // Of the latest row that was skipped; empty before.
  const std::string& last_skip_reason() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace precis
