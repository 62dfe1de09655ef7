// A doctor's report as text, and its notes.
#include "base/bytes.h"
#include "cli/doctor_report.h"

namespace precis::cli {

namespace {

void line(std::string& text, std::string label, const std::string& value) {
  label.resize(12, ' ');
  text += label + value + "\n";
}

std::string plain(const Json& value) {
  if (value.is_null()) return "unknown";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  return value.is_string() ? value.get<std::string>() : dump_json(value);
}

std::string amount(const Json& bytes) {
  return bytes.is_null() ? "unknown" : format_bytes(bytes.get<int64_t>());
}

std::string words(const Json& list) {
  std::string text;
  for (const Json& word : list) text += (text.empty() ? "" : " ") + plain(word);
  return text;
}

// "name value, name value" of what is known.
std::string pairs(const Json& object) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    if (!value.is_null()) text += (text.empty() ? "" : ", ") + name + " " + plain(value);
  }
  return text.empty() ? "none" : text;
}

std::string limit_pairs(const Json& limits) {
  std::string text;
  for (const auto& [name, value] : limits.items()) {
    if (value.is_null()) continue;
    text += (text.empty() ? "" : ", ") + name + " " + (name == "open_files" ? plain(value) : amount(value));
  }
  return text.empty() ? "none" : text;
}

}  // namespace

std::vector<std::string> doctor_notes(const Json& report) {
  std::vector<std::string> notes;
  const Json& cpus = report.at("cpu").at("control_group");
  const int64_t threads = report.at("threads").at("compute");
  const int64_t allowed = report.at("cpu").at("allowed");
  if (!cpus.is_null() && static_cast<double>(threads) > cpus.get<double>() + 0.5) {
    notes.push_back(std::to_string(threads) + " threads compute where the control group gives the time of " +
                    dump_json(cpus) + " processors: --threads sets fewer");
  } else if (threads > allowed) {
    notes.push_back(std::to_string(threads) + " threads compute on " + std::to_string(allowed) +
                    " processors: --threads sets fewer");
  }
  const Json& memory = report.at("memory");
  const Json& group = memory.at("control_group");
  if (!group.is_null() && group < memory.at("available")) {
    notes.push_back("the control group ends the program beyond " + amount(group) +
                    ", which is less than the machine has free: give train --memory-budget");
  }
  if (report.at("precis").at("allocator") == "libc") {
    notes.push_back("without tcmalloc training keeps more memory than its plan says");
  }
  constexpr int64_t kLittle = int64_t{1} << 30;
  const Json& free = report.at("disks").at(0).at("available");
  if (!free.is_null() && free.get<int64_t>() < kLittle) {
    notes.push_back("the working folder's disk has " + amount(free) + " left: a checkpoint may not fit");
  }
  return notes;
}

std::string doctor_text(const Json& report) {
  std::string text;
  line(text, "precis", pairs(report["precis"]));
  line(text, "libtorch", pairs(report["libtorch"]));
  line(text, "libraries", pairs(report["libraries"]));
  line(text, "system", pairs(report["system"]));
  const Json& cpu = report["cpu"];
  line(text, "cpu", plain(cpu["model"]));
  line(text, "",
       plain(cpu["processors"]) + " processors, " + plain(cpu["allowed"]) + " allowed, " +
           (cpu["control_group"].is_null()
                ? "no limit of a control group"
                : "the time of " + plain(cpu["control_group"]) + " by the control group"));
  line(text, "", words(cpu["features"]));
  line(text, "devices", words(report["devices"]));
  for (const Json& gpu : report["gpus"]) {
    line(text, "gpu",
         plain(gpu["name"]) + ", compute capability " + plain(gpu["compute_capability"]) + ", " +
             amount(gpu["total"]) + ", " + amount(gpu["available"]) + " available");
  }
  line(text, "threads", pairs(report["threads"]));
  const Json& memory = report["memory"];
  line(text, "memory",
       amount(memory["total"]) + ", " + amount(memory["available"]) + " available, " +
           (memory["control_group"].is_null() ? "no limit of a control group"
                                              : amount(memory["control_group"]) + " by the control group"));
  for (const Json& disk : report["disks"]) {
    line(text, "disk",
         disk["folder"].get<std::string>() + " folder: " + plain(disk["file_system"]) + ", " +
             amount(disk["available"]) + " available of " + amount(disk["total"]));
  }
  line(text, "limits", limit_pairs(report["limits"]));
  line(text, "locale", pairs(report["locale"]));
  line(text, "terminal", pairs(report["terminal"]));
  for (const Json& note : report["notes"]) line(text, "note", note.get<std::string>());
  return text;
}

}  // namespace precis::cli
