// Rows to documents: which field is what, and what is wrong with a row.
#include "data/documents.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "data/rows.h"
#include "io/compressed.h"
#include "io/utf8.h"

namespace precis {

namespace {

// The fields that hold a document and its reference in the data sets of the field.
struct FieldPair {
  const char* document;
  const char* summary;
};
constexpr FieldPair kPairs[] = {
    {"document", "summary"}, {"article", "highlights"}, {"article", "abstract"}, {"report", "summary"}};

std::string document_field(const Row& row, const DocumentOptions& options) {
  if (!options.document_field.empty()) return options.document_field;
  for (const FieldPair& pair : kPairs) {
    if (find_field(row, pair.document) != nullptr) return pair.document;
  }
  refuse_row(row.where, "no document in the row",
             "a field 'document', 'article' or 'report', or one named as document field");
}

std::vector<std::string> summaries_of(const Row& row, const std::string& document,
                                      const DocumentOptions& options) {
  if (!options.summaries) return {};
  if (!options.summary_field.empty()) {
    const Json& value = required_field(row, options.summary_field);
    if (value.is_array()) return string_list_field(row, value, options.summary_field);
    return {string_field(row, value, options.summary_field)};
  }
  if (const Json* list = find_field(row, "summaries")) return string_list_field(row, *list, "summaries");
  // `summary` goes with any document; the other names only with their own.
  for (const FieldPair& pair : kPairs) {
    const std::string name = pair.summary;
    if (document != pair.document && name != "summary") continue;
    const Json* value = find_field(row, name);
    if (value == nullptr || value->is_null()) continue;
    if (value->is_array()) {
      refuse_row(row.where, "bad field '" + name + '\'', "a string (a list goes under 'summaries')", "array");
    }
    return {string_field(row, *value, name)};
  }
  return {};
}

std::optional<std::string> query_of(const Row& row, const DocumentOptions& options) {
  const std::string name = options.query_field.empty() ? "query" : options.query_field;
  if (!options.query_field.empty()) return string_field(row, required_field(row, name), name);
  const Json* value = find_field(row, name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return string_field(row, *value, name);
}

InputFormat format_of(const std::filesystem::path& path, InputFormat wanted) {
  if (wanted != InputFormat::kAuto) return wanted;
  const std::string extension = without_compression(path).extension().string();
  return extension == ".jsonl" || extension == ".ndjson" ? InputFormat::kJsonLines : InputFormat::kText;
}

}  // namespace

InputFormat parse_input_format(const std::string& text) {
  if (text == "text") return InputFormat::kText;
  if (text == "jsonl") return InputFormat::kJsonLines;
  throw Error(ErrorKind::kUsage, {.what = "unknown input format",
                                  .where = "--input-format",
                                  .expected = "text or jsonl",
                                  .found = text});
}

std::optional<int64_t> parse_on_bad_line(std::string_view text) {
  constexpr std::string_view kSkip = "skip:";
  if (text == "error") return 0;
  if (!text.starts_with(kSkip)) return std::nullopt;
  int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, result] = std::from_chars(text.data() + kSkip.size(), end, count);
  if (result != std::errc() || stop != end || count < 1) return std::nullopt;
  return count;
}

class DocumentReader::Implementation {
 public:
  Implementation(const std::filesystem::path& path, DocumentOptions options)
      : name_(path.string()), options_(std::move(options)), format_(format_of(path, options_.format)) {
    if (format_ == InputFormat::kJsonLines) {
      rows_.emplace(path, RowOptions{options_.replace_invalid_utf8, options_.max_line_bytes, options_.stop});
    } else {
      text_ = open_stream(path, options_.stop);
    }
  }

  std::optional<Document> next() {
    if (format_ == InputFormat::kText) return whole_text();
    while (rows_->advance()) {
      try {
        const Row row = rows_->row();
        Document document = document_of(row, options_);
        replaced_ += row.replaced;  // only of rows that are used
        return document;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kData || skipped_ >= options_.skip_bad_lines) throw;
        ++skipped_;
        reason_ = error.what();
      }
    }
    return std::nullopt;
  }

  int64_t skipped() const { return skipped_; }
  int64_t replaced() const { return replaced_; }
  const std::string& reason() const { return reason_; }

 private:
  std::optional<Document> whole_text() {
    if (text_ == nullptr) return std::nullopt;
    const std::unique_ptr<ByteStream> stream = std::move(text_);
    std::string bytes;
    size_t used = 0;
    for (;;) {
      // Doubling, so that the whole costs linear time and at most twice the text.
      if (used == bytes.size()) bytes.resize(std::max<size_t>(size_t{1} << 16, used * 2));
      const size_t got = stream->read(bytes.data() + used, bytes.size() - used);
      if (got == 0) break;
      used += got;
      if (static_cast<int64_t>(used) > options_.max_line_bytes) {
        refuse_row(name_, "text too long", "at most " + std::to_string(options_.max_line_bytes) + " bytes");
      }
    }
    bytes.resize(used);
    const int64_t mark = bytes.compare(0, 3, "\xEF\xBB\xBF") == 0 ? 3 : 0;
    bytes.erase(0, static_cast<size_t>(mark));
    const size_t invalid = find_invalid_utf8(bytes);
    if (invalid != std::string::npos) {
      if (!options_.replace_invalid_utf8) {
        const int64_t line =
            1 + std::count(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(invalid), '\n');
        refuse_row(name_ + ":" + std::to_string(line), "invalid UTF-8", "",
                   describe_invalid_utf8(bytes, invalid, mark));
      }
      bytes = replace_invalid_utf8(bytes, replaced_);
    }
    return Document{.id = name_, .text = std::move(bytes), .where = name_};
  }

  static Document document_of(const Row& row, const DocumentOptions& options) {
    const std::string field = document_field(row, options);
    return {.id = row_id(row).value_or(std::to_string(row.line)),
            .text = string_field(row, required_field(row, field), field),
            .query = query_of(row, options),
            .summaries = summaries_of(row, field, options),
            .line = row.line,
            .where = row.where};
  }

  std::string name_;
  DocumentOptions options_;
  InputFormat format_;
  std::optional<RowReader> rows_;
  std::unique_ptr<ByteStream> text_;
  int64_t skipped_ = 0;
  int64_t replaced_ = 0;
  std::string reason_;
};

DocumentReader::DocumentReader(const std::filesystem::path& path, DocumentOptions options)
    : implementation_(std::make_unique<Implementation>(path, std::move(options))) {}
DocumentReader::DocumentReader(DocumentReader&&) noexcept = default;
DocumentReader& DocumentReader::operator=(DocumentReader&&) noexcept = default;
DocumentReader::~DocumentReader() = default;

std::optional<Document> DocumentReader::next() { return implementation_->next(); }
int64_t DocumentReader::skipped_lines() const { return implementation_->skipped(); }
int64_t DocumentReader::replaced_bytes() const { return implementation_->replaced(); }
const std::string& DocumentReader::last_skip_reason() const { return implementation_->reason(); }

}  // namespace precis
