// Events as protocol buffers, written by hand: five kinds of field are all there is.
#include "train/tensorboard.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <ctime>

#include "io/tfrecord.h"

namespace precis::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "events.out.tfevents.";

constexpr const char* kScalars[] = {"loss",        "learning_rate",    "grad_norm", "tokens_per_second",
                                    "rouge1",      "rouge2",           "rougeL",    "rougeLsum",
                                    "mean_length", "peak_memory_bytes"};

// Protocol buffers: a field is its number and wire type, then its value.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string fixed(uint64_t bits, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(bits >> (8 * i) & 0xFF);
  return bytes;
}

std::string tag(uint64_t field, WireType type) { return varint(field << 3 | type); }

std::string integer_field(uint64_t field, int64_t value) {
  return tag(field, kVarint) + varint(static_cast<uint64_t>(value));
}
std::string double_field(uint64_t field, double value) {
  return tag(field, kFixed64) + fixed(std::bit_cast<uint64_t>(value), 8);
}
std::string float_field(uint64_t field, float value) {
  return tag(field, kFixed32) + fixed(std::bit_cast<uint32_t>(value), 4);
}
std::string bytes_field(uint64_t field, const std::string& value) {
  return tag(field, kBytes) + varint(value.size()) + value;
}

std::timespec now() {
  std::timespec time = {};
  std::timespec_get(&time, TIME_UTC);
  return time;
}

// message Event: wall_time = 1, step = 2, and one of file_version = 3, summary = 5, session_log = 7.
std::string event_record(int64_t step, const std::string& content) {
  const std::timespec time = now();
  const double seconds = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  return tfrecord(double_field(1, seconds) + integer_field(2, step) + content);
}

// message Summary: value = 1, each with tag = 1 and simple_value = 2.
std::string summary_value(const std::string& name, double value) {
  return bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
}

// TensorBoard reads a folder's files in the order of their names.
std::string new_name(const fs::path& folder) {
  const std::timespec time = now();
  char name[64];
  std::snprintf(name, sizeof name, "%s%010lld.%09ld.precis", kPrefix, static_cast<long long>(time.tv_sec),
                time.tv_nsec);
  std::string newest;
  std::error_code unreadable;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, unreadable)) {
    const std::string other = entry.path().filename().string();
    if (other.starts_with(kPrefix)) newest = std::max(newest, other);
  }
  return name > newest ? name : newest + "+";
}

}  // namespace

TensorBoardLog::TensorBoardLog(FileSystem& files, const fs::path& folder, int64_t first_step)
    : file_(files.create(folder / new_name(folder))) {
  file_->write(event_record(0, bytes_field(3, "brain.Event:2")));
  // message SessionLog: status = 1, of which START is 1.
  file_->write(event_record(first_step, bytes_field(7, integer_field(1, 1))));
}

void TensorBoardLog::write(const Json& event) {
  const std::string kind = event.at("event");
  if (kind != "step" && kind != "validation") return;
  const std::string group = kind == "step" ? "train/" : "validation/";
  std::string summary;
  for (const char* name : kScalars) {
    if (event.contains(name)) summary += summary_value(group + name, event.at(name));
  }
  file_->write(event_record(event.at("step"), bytes_field(5, summary)));
}

void TensorBoardLog::sync() { file_->sync(); }

}  // namespace precis::train
