// The join by id.
#include "evaluate/predictions.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "data/rows.h"

namespace precis::evaluate {

namespace {

struct Prediction {
  std::string text;
  std::string where;
};

std::string required_id(const Row& row) {
  const std::optional<std::string> id = row_id(row);
  if (!id) refuse_row(row.where, "no field 'id' in the row", "the id that joins predictions and references");
  return *id;
}

[[noreturn]] void refuse_repeated(const Row& row, const std::string& id) {
  refuse_row(row.where, "the id '" + id + "' is there twice", "one row an id");
}

std::unordered_map<std::string, Prediction> read_predictions(const std::filesystem::path& path,
                                                             const StopToken* stop) {
  std::unordered_map<std::string, Prediction> predictions;
  RowReader reader(path, {.stop = stop});
  while (const std::optional<Row> row = reader.next()) {
    throw_if_stopped(stop);
    const std::string id = required_id(*row);
    const char* const field = find_field(*row, "prediction") != nullptr ? "prediction" : "summary";
    const Json* value = find_field(*row, field);
    if (value == nullptr)
      refuse_row(row->where, "no prediction in the row", "a field 'prediction' or 'summary'");
    if (!predictions.try_emplace(id, Prediction{string_field(*row, *value, field), row->where}).second) {
      refuse_repeated(*row, id);
    }
  }
  return predictions;
}

std::vector<std::string> references_of(const Row& row, const std::string& summary_field) {
  std::string field = summary_field;
  if (field.empty()) field = find_field(row, "summaries") != nullptr ? "summaries" : "summary";
  const Json& value = required_field(row, field);
  if (!value.is_array()) return {string_field(row, value, field)};
  std::vector<std::string> references = string_list_field(row, value, field);
  if (references.empty()) refuse_row(row.where, "no reference in the field '" + field + "'");
  return references;
}

// The row that stands first in the file, so that the same files give the same message.
const Prediction& first_of(const std::unordered_map<std::string, Prediction>& predictions) {
  const auto earlier = [](const auto& a, const auto& b) {
    const std::string &first = a.second.where, &second = b.second.where;
    return first.size() != second.size() ? first.size() < second.size() : first < second;
  };
  return std::min_element(predictions.begin(), predictions.end(), earlier)->second;
}

}  // namespace

ScoredPairs score_predictions(const PredictionFiles& files, Scores& scores, const StopToken* stop) {
  std::unordered_map<std::string, Prediction> predictions = read_predictions(files.predictions, stop);
  std::unordered_set<std::string> seen;
  ScoredPairs counts;
  RowReader reader(files.references, {.stop = stop});
  while (const std::optional<Row> row = reader.next()) {
    throw_if_stopped(stop);
    const std::string id = required_id(*row);
    if (!seen.insert(id).second) refuse_repeated(*row, id);
    const auto prediction = predictions.find(id);
    if (prediction == predictions.end()) {
      refuse_row(row->where, "no prediction for the id '" + id + "'", "one in " + files.predictions.string());
    }
    const std::vector<std::string> references = references_of(*row, files.summary_field);
    counts.empty_references += std::all_of(references.begin(), references.end(),
                                           [](const std::string& reference) { return reference.empty(); });
    scores.add_prediction(references, prediction->second.text);
    predictions.erase(prediction);
    ++counts.pairs;
  }
  if (!predictions.empty()) {
    refuse_row(first_of(predictions).where, "no reference for the row's id",
               "one in " + files.references.string());
  }
  if (counts.pairs == 0) refuse_row(files.references.string(), "no rows to score");
  return counts;
}

}  // namespace precis::evaluate
