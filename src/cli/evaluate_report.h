// The scores of a data set as `precis evaluate` prints them.
#pragma once

#include <string>

#include "evaluate/examples.h"
#include "evaluate/report.h"
#include "io/json.h"

namespace precis::cli {

// PRODUCT's names, and beside them `documents` and, where any, what was left out or cut.
Json report_json(const evaluate::Report& report, const evaluate::ExampleCounts& counts);

// A table for people: ROUGE in percent.
std::string report_text(const evaluate::Report& report);

// {"rouge1": {"fmeasure", "difference", "p_value"}, ..., "exact_match": {"score", ...}}: the baseline's
// score, by how much the predictions are better, and the one-sided p-value of that.
Json comparisons_json(const evaluate::Comparisons& comparisons);

// The same as a table, ROUGE in percent; `name` is the baseline's.
std::string comparisons_text(const evaluate::Comparisons& comparisons, const std::string& name);

}  // namespace precis::cli
