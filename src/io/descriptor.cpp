// POSIX reads, resumed after signals and short reads.
#include "io/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace precis {

namespace {

[[noreturn]] void read_failed(const std::string& name) {
  const int code = errno;
  throw Error(ErrorKind::kIo, {.what = std::string("can't read: ") + std::strerror(code), .where = name});
}

struct stat status_of(int number, const std::string& name) {
  struct stat status = {};
  if (fstat(number, &status) != 0) read_failed(name);
  return status;
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept
    : number_(std::exchange(other.number_, -1)), name_(std::move(other.name_)), owned_(other.owned_) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  std::swap(name_, other.name_);
  std::swap(owned_, other.owned_);
  return *this;
}

Descriptor::~Descriptor() {
  if (owned_ && number_ >= 0) close(number_);
}

size_t Descriptor::read(void* destination, size_t size) const {
  for (;;) {
    const ssize_t got = ::read(number_, destination, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) read_failed(name_);
  }
}

size_t Descriptor::read_at(void* destination, size_t size, int64_t offset) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = pread(number_, static_cast<char*>(destination) + done, size - done,
                              static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (got == 0) break;
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      read_failed(name_);
    }
  }
  return done;
}

int64_t Descriptor::size() const { return status_of(number_, name_).st_size; }

bool Descriptor::is_regular() const { return S_ISREG(status_of(number_, name_).st_mode); }

Descriptor open_for_reading(const std::filesystem::path& path, ErrorKind kind) {
  const std::string name = path.string();
  int number;
  do {
    number = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  } while (number < 0 && errno == EINTR);
  if (number < 0) {
    const int code = errno;
    throw Error(kind,
                {.what = code == ENOENT ? "no such file" : std::string("can't open: ") + std::strerror(code),
                 .where = name.empty() ? "''" : name});
  }
  Descriptor descriptor(number, name, true);
  if (S_ISDIR(status_of(number, name).st_mode)) {
    throw Error(kind, {.what = "a directory where a file is needed", .where = name});
  }
  return descriptor;
}

Descriptor standard_input() { return Descriptor(STDIN_FILENO, "-", false); }

}  // namespace precis
