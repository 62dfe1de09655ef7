// What `precis doctor` says of the program and the machine it runs on, as one JSON object.
#pragma once

#include <string>
#include <vector>

#include "io/json.h"

namespace precis::cli {

// Keys: "precis", "libtorch", "libraries", "system", "cpu", "devices", "gpus", "threads", "memory", "disks",
// "limits", "locale", "terminal", "notes". Amounts are bytes. What can't be found out is null. No name of the
// machine, of a user or of a folder is among it, so that it can be shown to anybody.
Json doctor_report();

// What in a report is likely to hurt, and what to do about it.
std::vector<std::string> doctor_notes(const Json& report);

// The report for people.
std::string doctor_text(const Json& report);

}  // namespace precis::cli
