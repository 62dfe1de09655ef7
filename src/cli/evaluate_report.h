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

}  // namespace precis::cli
