// Rows to documents: which field is what, and what is wrong with a row.
#include "data/documents.h"

#include <algorithm>
#include <utility>

#include "data/lines.h"
#include "io/compressed.h"
#include "io/json.h"
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

[[noreturn]] void refuse(const std::string& where, std::string what, std::string expected = "",
                         std::string found = "") {
  throw Error(
      ErrorKind::kData,
      {.what = std::move(what), .where = where, .expected = std::move(expected), .found = std::move(found)});
}

const Json* member(const Json& row, const std::string& name) {
  const auto found = row.find(name);
  return found == row.end() ? nullptr : &*found;
}

const Json& required(const Json& row, const std::string& name, const std::string& where) {
  const Json* value = member(row, name);
  if (value == nullptr) refuse(where, "no field '" + name + "' in the row");
  return *value;
}

std::string string_of(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_string()) refuse(where, "bad field '" + name + '\'', "a string", value.type_name());
  return value.get<std::string>();
}

std::vector<std::string> strings_of(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_array()) refuse(where, "bad field '" + name + '\'', "a list of strings", value.type_name());
  std::vector<std::string> strings;
  for (const Json& item : value) strings.push_back(string_of(item, name, where));
  return strings;
}

std::string document_field(const Json& row, const DocumentOptions& options, const std::string& where) {
  if (!options.document_field.empty()) return options.document_field;
  for (const FieldPair& pair : kPairs) {
    if (member(row, pair.document) != nullptr) return pair.document;
  }
  refuse(where, "no document in the row",
         "a field 'document', 'article' or 'report', or one named as document field");
}

std::vector<std::string> summaries_of(const Json& row, const std::string& document,
                                      const DocumentOptions& options, const std::string& where) {
  if (!options.summary_field.empty()) {
    const Json& value = required(row, options.summary_field, where);
    if (value.is_array()) return strings_of(value, options.summary_field, where);
    return {string_of(value, options.summary_field, where)};
  }
  if (const Json* list = member(row, "summaries")) return strings_of(*list, "summaries", where);
  // `summary` goes with any document; the other names only with their own.
  for (const FieldPair& pair : kPairs) {
    const std::string name = pair.summary;
    if (document != pair.document && name != "summary") continue;
    const Json* value = member(row, name);
    if (value != nullptr && !value->is_null()) return {string_of(*value, name, where)};
  }
  return {};
}

std::optional<std::string> query_of(const Json& row, const DocumentOptions& options,
                                    const std::string& where) {
  const std::string name = options.query_field.empty() ? "query" : options.query_field;
  if (!options.query_field.empty()) return string_of(required(row, name, where), name, where);
  const Json* value = member(row, name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return string_of(*value, name, where);
}

std::string id_of(const Json& row, int64_t line, const std::string& where) {
  const Json* value = member(row, "id");
  if (value == nullptr || value->is_null()) return std::to_string(line);
  if (value->is_number_integer()) return value->dump();
  if (!value->is_string()) refuse(where, "bad field 'id'", "a string or an integer", value->type_name());
  return value->get<std::string>();
}

// JSON's own white space: what a blank line may hold.
bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

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

class DocumentReader::Implementation {
 public:
  Implementation(const std::filesystem::path& path, DocumentOptions options)
      : name_(path.string()), options_(std::move(options)), format_(format_of(path, options_.format)) {
    std::unique_ptr<ByteStream> stream = open_stream(path);
    if (format_ == InputFormat::kJsonLines) {
      lines_.emplace(std::move(stream), options_.max_line_bytes);
    } else {
      text_ = std::move(stream);
    }
  }

  std::optional<Document> next() {
    if (format_ == InputFormat::kText) return whole_text();
    for (Line line; lines_->next(line);) {
      const std::string where = name_ + ":" + std::to_string(line.number);
      try {
        if (line.too_long) {
          refuse(where, "line too long", "at most " + std::to_string(options_.max_line_bytes) + " bytes");
        }
        if (!is_blank(line.text)) return document_of(line, where);
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
        refuse(name_, "text too long", "at most " + std::to_string(options_.max_line_bytes) + " bytes");
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
        refuse(name_ + ":" + std::to_string(line), "invalid UTF-8", "",
               describe_invalid_utf8(bytes, invalid, mark));
      }
      bytes = replace_invalid_utf8(bytes, replaced_);
    }
    return Document{.id = name_, .text = std::move(bytes), .where = name_};
  }

  Document document_of(const Line& line, const std::string& where) {
    std::string repaired;
    std::string_view text = line.text;
    int64_t replaced = 0;
    if (options_.replace_invalid_utf8) {
      repaired = replace_invalid_unicode_in_json(text, replaced);
      text = repaired;
    }
    const Json row = parse_json(text, name_, ErrorKind::kData, {.line = line.number, .byte = line.byte});
    if (!row.is_object()) refuse(where, "bad row", "a JSON object", row.type_name());
    const std::string field = document_field(row, options_, where);
    Document document{.id = id_of(row, line.number, where),
                      .text = string_of(required(row, field, where), field, where),
                      .query = query_of(row, options_, where),
                      .summaries = summaries_of(row, field, options_, where),
                      .line = line.number,
                      .where = where};
    replaced_ += replaced;  // only of rows that are used
    return document;
  }

  std::string name_;
  DocumentOptions options_;
  InputFormat format_;
  std::optional<LineReader> lines_;
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
