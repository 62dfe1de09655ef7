// JSON Lines: lines to objects, fields to strings.
#include "data/rows.h"

#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/compressed.h"

namespace precis {

namespace {

// JSON's own white space: what a blank line may hold.
bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

void refuse_row(const std::string& where, std::string what, std::string expected, std::string found) {
  throw Error(
      ErrorKind::kData,
      {.what = std::move(what), .where = where, .expected = std::move(expected), .found = std::move(found)});
}

RowReader::RowReader(const std::filesystem::path& path, const RowOptions& options)
    : name_(path.string()),
      options_(options),
      lines_(open_stream(path, options.stop), options.max_line_bytes) {}

std::optional<Row> RowReader::next() {
  if (!advance()) return std::nullopt;
  return row();
}

bool RowReader::advance() {
  while (lines_.next(line_)) {
    if (line_.too_long || !is_blank(line_.text)) return true;
  }
  return false;
}

Row RowReader::row() const {
  Row row{.line = line_.number, .where = name_ + ":" + std::to_string(line_.number)};
  if (line_.too_long) {
    refuse_row(row.where, "line too long", "at most " + std::to_string(options_.max_line_bytes) + " bytes");
  }
  std::string repaired;
  std::string_view text = line_.text;
  if (options_.replace_invalid_utf8) {
    repaired = replace_invalid_unicode_in_json(text, row.replaced);
    text = repaired;
  }
  row.object = parse_json(text, name_, ErrorKind::kData, {.line = line_.number, .byte = line_.byte});
  if (!row.object.is_object()) refuse_row(row.where, "bad row", "a JSON object", row.object.type_name());
  return row;
}

const Json* find_field(const Row& row, const std::string& name) {
  const auto found = row.object.find(name);
  return found == row.object.end() ? nullptr : &*found;
}

const Json& required_field(const Row& row, const std::string& name) {
  const Json* value = find_field(row, name);
  if (value == nullptr) refuse_row(row.where, "no field '" + name + "' in the row");
  return *value;
}

std::string string_field(const Row& row, const Json& value, const std::string& name) {
  if (!value.is_string()) refuse_row(row.where, "bad field '" + name + '\'', "a string", value.type_name());
  return value.get<std::string>();
}

std::vector<std::string> string_list_field(const Row& row, const Json& value, const std::string& name) {
  if (!value.is_array()) {
    refuse_row(row.where, "bad field '" + name + '\'', "a list of strings", value.type_name());
  }
  std::vector<std::string> strings;
  for (const Json& item : value) strings.push_back(string_field(row, item, name));
  return strings;
}

std::optional<std::string> row_id(const Row& row) {
  const Json* value = find_field(row, "id");
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (value->is_number_integer()) return dump_json(*value);
  if (!value->is_string()) {
    refuse_row(row.where, "bad field 'id'", "a string or an integer", value->type_name());
  }
  return value->get<std::string>();
}

}  // namespace precis
