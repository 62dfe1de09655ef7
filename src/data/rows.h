// Rows of a JSON Lines file, one at a time, and the checks of their fields. Every error is Error{kData} at
// "file:line" or "file:line:column".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/lines.h"
#include "io/json.h"

namespace precis {

struct Row {
  Json object;
  int64_t line = 1;      // from 1
  std::string where;     // "file:line"
  int64_t replaced = 0;  // stretches of invalid UTF-8, and lone surrogates, replaced
};

struct RowOptions {
  bool replace_invalid_utf8 = false;          // U+FFFD, counted; else an error with the byte offset
  int64_t max_line_bytes = int64_t{1} << 30;  // of a line
  const StopToken* stop = nullptr;            // ends a wait for input, as Error of its reason
};

class RowReader {
 public:
  // "-" is standard input.
  explicit RowReader(const std::filesystem::path& path, const RowOptions& options = {});
  // The next row that is not blank; nothing at the end.
  std::optional<Row> next();

  // The two halves of next(): an error of the first is one of the file, an error of the second one of a row,
  // and leaves the reader where the next row can be had.
  bool advance();
  Row row() const;

 private:
  std::string name_;
  RowOptions options_;
  LineReader lines_;
  Line line_;
};

[[noreturn]] void refuse_row(const std::string& where, std::string what, std::string expected = "",
                             std::string found = "");

// Null where the row has no such field.
const Json* find_field(const Row& row, const std::string& name);
const Json& required_field(const Row& row, const std::string& name);
std::string string_field(const Row& row, const Json& value, const std::string& name);
std::vector<std::string> string_list_field(const Row& row, const Json& value, const std::string& name);
// `id`, a string or an integer, as a string; nothing where it is missing or null.
std::optional<std::string> row_id(const Row& row);

}  // namespace precis
