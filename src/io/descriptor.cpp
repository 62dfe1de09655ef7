// POSIX reads, resumed after signals that ask for no stop and after short reads.
#include "io/descriptor.h"

#include <fcntl.h>
#include <poll.h>
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
    : number_(std::exchange(other.number_, -1)),
      name_(std::move(other.name_)),
      owned_(other.owned_),
      stop_(other.stop_) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  std::swap(name_, other.name_);
  std::swap(owned_, other.owned_);
  std::swap(stop_, other.stop_);
  return *this;
}

Descriptor::~Descriptor() {
  if (owned_ && number_ >= 0) close(number_);
}

void Descriptor::wait() const {
  // A stop may be requested right before the wait begins, so it is looked for again every so often.
  constexpr int kMilliseconds = 100;
  for (;;) {
    throw_if_stopped(stop_);
    pollfd descriptor = {.fd = number_, .events = POLLIN, .revents = 0};
    const int ready = poll(&descriptor, 1, kMilliseconds);
    if (ready > 0) return;  // bytes, the end, or what read() then says is wrong
    if (ready < 0 && errno != EINTR) read_failed(name_);
  }
}

size_t Descriptor::read(void* destination, size_t size) const {
  for (;;) {
    if (stop_ != nullptr) wait();
    const ssize_t got = ::read(number_, destination, size);
    if (got >= 0) return static_cast<size_t>(got);
    // EAGAIN: another reader of the pipe was faster.
    if (errno != EINTR && !(errno == EAGAIN && stop_ != nullptr)) read_failed(name_);
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

Descriptor open_for_reading(const std::filesystem::path& path, ErrorKind kind, const StopToken* stop) {
  const std::string name = path.string();
  // A blocking open() of a FIFO would wait for its writer, out of reach of a stop.
  const bool of_model = kind == ErrorKind::kModel;
  const int flags = O_RDONLY | O_CLOEXEC | (stop != nullptr || of_model ? O_NONBLOCK : 0);
  int number;
  do {
    number = open(name.c_str(), flags);
  } while (number < 0 && errno == EINTR);
  if (number < 0) {
    const int code = errno;
    throw Error(kind,
                {.what = code == ENOENT ? "no such file" : std::string("can't open: ") + std::strerror(code),
                 .where = name.empty() ? "''" : name});
  }
  Descriptor descriptor(number, name, true, stop);
  if (S_ISDIR(status_of(number, name).st_mode)) {
    throw Error(kind, {.what = "a directory where a file is needed", .where = name});
  }
  if (of_model && !S_ISREG(status_of(number, name).st_mode)) {
    throw Error(kind, {.what = "not a regular file", .where = name});
  }
  return descriptor;
}

Descriptor standard_input(const StopToken* stop) { return Descriptor(STDIN_FILENO, "-", false, stop); }

}  // namespace precis
