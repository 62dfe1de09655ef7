// Asking libtorch, the kernel and the environment.
#include "cli/doctor_report.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <torch/headeronly/version.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/bytes.h"
#include "base/control_group.h"
#include "base/memory_use.h"
#include "io/utf8.h"
#include "nn/device.h"

namespace precis::cli {

namespace {

template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

// Any bytes may stand there.
Json text_of(const char* bytes) {
  int64_t replaced = 0;
  return bytes == nullptr ? Json() : Json(replace_invalid_utf8(bytes, replaced));
}

Json environment(const char* name) { return text_of(std::getenv(name)); }

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("g++ ") + __VERSION__;
#else
  return "unknown";
#endif
}

// Whichever was linked, or preloaded.
const char* allocator() {
  if (dlsym(RTLD_DEFAULT, "tc_malloc") != nullptr) return "tcmalloc";
  return dlsym(RTLD_DEFAULT, "mallctl") != nullptr ? "jemalloc" : "libc";
}

Json program() {
  return {{"version", PRECIS_VERSION},
          {"build_type", PRECIS_BUILD_TYPE},
          {"compiler", compiler()},
          {"allocator", allocator()}};
}

Json libtorch() {
  return {{"version", TORCH_VERSION},  {"cuda", at::hasCUDA()},
          {"mkl", at::hasMKL()},       {"onednn", at::hasMKLDNN()},
          {"openmp", at::hasOpenMP()}, {"cpu_kernels", at::get_cpu_capability()}};
}

Json libraries() {
  return {{"libc", gnu_get_libc_version()},
          {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
          {"zlib", zlibVersion()},
          {"zstd", ZSTD_versionString()}};
}

// The value of "name<separator>value" in a file, without quotes.
Json value_in(const char* file, const std::string& name, char separator) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t end = line.find(separator);
    if (end == std::string::npos) continue;
    const auto strip = [](const std::string& text) {
      const size_t begin = text.find_first_not_of(" \t\""), last = text.find_last_not_of(" \t\"");
      return begin == std::string::npos ? "" : text.substr(begin, last - begin + 1);
    };
    if (strip(line.substr(0, end)) == name) return text_of(strip(line.substr(end + 1)).c_str());
  }
  return {};
}

Json system_of() {
  struct utsname names = {};
  uname(&names);
  return {{"kernel", text_of(names.sysname)},
          {"release", text_of(names.release)},
          {"architecture", text_of(names.machine)},
          {"distribution", value_in("/etc/os-release", "PRETTY_NAME", '=')}};
}

// Of the many that a processor names, those that decide which kernels run and how fast.
Json cpu_features() {
  static const std::set<std::string> kOfInterest = {
      "sse4_2",   "avx",         "f16c",        "fma",         "avx2",     "avx512f",  "avx512bw",
      "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_bf16", "amx_int8",
      "asimd",    "sve",         "sve2",        "bf16",        "i8mm"};
  Json words = value_in("/proc/cpuinfo", "flags", ':');
  if (words.is_null()) words = value_in("/proc/cpuinfo", "Features", ':');  // ARM
  if (words.is_null()) return {};
  Json features = Json::array();
  std::istringstream stream(words.get<std::string>());
  for (std::string word; stream >> word;) {
    if (kOfInterest.count(word) != 0) features.push_back(word);
  }
  return features;
}

int64_t processors_to_run_on() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return sysconf(_SC_NPROCESSORS_ONLN);
  return CPU_COUNT(&set);
}

Json cpu(const ControlGroupLimits& limits) {
  return {{"model", value_in("/proc/cpuinfo", "model name", ':')},
          {"features", cpu_features()},
          {"processors", int64_t{sysconf(_SC_NPROCESSORS_ONLN)}},
          {"allowed", processors_to_run_on()},
          {"control_group", json_of(limits.cpus)}};
}

Json devices() {
  Json list = {"cpu"};
  for (int64_t i = 0; i < nn::gpu_count(); ++i) list.push_back("cuda:" + std::to_string(i));
  return list;
}

Json gpus() {
  Json list = Json::array();
  for (const nn::Gpu& gpu : nn::gpus()) {
    list.push_back({{"name", text_of(gpu.name.c_str())},
                    {"compute_capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor)},
                    {"total", gpu.memory},
                    {"available", gpu.free_memory}});
  }
  return list;
}

Json threads() {
  return {{"compute", at::get_num_threads()},
          {"OMP_NUM_THREADS", environment("OMP_NUM_THREADS")},
          {"MKL_NUM_THREADS", environment("MKL_NUM_THREADS")}};
}

Json memory(const ControlGroupLimits& limits) {
  return {{"total", int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE)},
          {"available", available_memory_bytes()},
          {"control_group", json_of(limits.memory_bytes)}};
}

std::string file_system_name(int64_t magic) {
  switch (magic) {  // statfs(2)
    case 0xEF53:
      return "ext";
    case 0x01021994:
      return "tmpfs";
    case 0x794C7630:
      return "overlay";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x6969:
      return "nfs";
    case 0x2FC12FC1:
      return "zfs";
    case 0x65735546:
      return "fuse";
    default:
      char text[24];
      std::snprintf(text, sizeof text, "0x%llX", static_cast<unsigned long long>(magic));
      return text;
  }
}

Json disk(const char* name, const std::filesystem::path& folder) {
  struct statfs kind = {};
  std::error_code problem;
  const std::filesystem::space_info space = std::filesystem::space(folder, problem);
  if (problem || statfs(folder.c_str(), &kind) != 0) {
    return {{"folder", name}, {"file_system", nullptr}, {"total", nullptr}, {"available", nullptr}};
  }
  return {{"folder", name},
          {"file_system", file_system_name(static_cast<int64_t>(kind.f_type))},
          {"total", space.capacity},
          {"available", space.available}};
}

Json disks() {
  std::error_code none;
  return {disk("working", "."), disk("temporary", std::filesystem::temp_directory_path(none))};
}

// What setrlimit(2) holds this process to.
Json limits() {
  const auto limit = [](auto resource) {
    struct rlimit value = {};
    if (getrlimit(resource, &value) != 0 || value.rlim_cur == RLIM_INFINITY) return Json();
    return Json(static_cast<uint64_t>(value.rlim_cur));
  };
  return {{"address_space", limit(RLIMIT_AS)},
          {"file_size", limit(RLIMIT_FSIZE)},
          {"open_files", limit(RLIMIT_NOFILE)},
          {"stack", limit(RLIMIT_STACK)}};
}

Json terminal() {
  struct winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return {{"stdin", isatty(STDIN_FILENO) == 1},   {"stdout", isatty(STDOUT_FILENO) == 1},
          {"stderr", isatty(STDERR_FILENO) == 1}, {"columns", known ? Json(size.ws_col) : Json()},
          {"TERM", environment("TERM")},          {"NO_COLOR", environment("NO_COLOR")}};
}

}  // namespace

Json doctor_report() {
  const ControlGroupLimits group = control_group_limits();
  Json report = {{"precis", program()},
                 {"libtorch", libtorch()},
                 {"libraries", libraries()},
                 {"system", system_of()},
                 {"cpu", cpu(group)},
                 {"devices", devices()},
                 {"gpus", gpus()},
                 {"threads", threads()},
                 {"memory", memory(group)},
                 {"disks", disks()},
                 {"limits", limits()},
                 {"locale",
                  {{"LANG", environment("LANG")},
                   {"LC_ALL", environment("LC_ALL")},
                   {"LC_CTYPE", environment("LC_CTYPE")}}},
                 {"terminal", terminal()}};
  report["notes"] = doctor_notes(report);
  return report;
}

}  // namespace precis::cli
