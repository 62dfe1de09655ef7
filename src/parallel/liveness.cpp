// Connections between ranks that say who is still there.
#include "parallel/liveness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>

#include "base/error.h"

namespace precis::parallel {

namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// What goes over a connection: letters alone, and a rank behind kLost.
constexpr char kBeat = 'b', kBye = 'q', kLost = 'd';

struct Hello {
  uint64_t word = 0;
  int32_t rank = 0;
};

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorKind::kIo, {.what = std::string(what) + ": " + std::strerror(errno),
                               .where = "the connections between ranks"});
}

bool send_all(int socket, const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, void* data, size_t size, milliseconds time_out) {
  char* bytes = static_cast<char*>(data);
  while (size > 0) {
    pollfd ready{.fd = socket, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, static_cast<int>(time_out.count())) <= 0) return false;
    const ssize_t got = recv(socket, bytes, size, 0);
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

// This host's IPv4 addresses, loopback last.
std::vector<std::string> addresses() {
  std::vector<std::string> found, loopback;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) fail("cannot read this host's addresses");
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    (ntohl(address->sin_addr.s_addr) >> 24 == 127 ? loopback : found).emplace_back(text);
  }
  freeifaddrs(list);
  found.insert(found.end(), loopback.begin(), loopback.end());
  return found;
}

}  // namespace

Liveness::Liveness(int rank, int size, bool one_host, milliseconds time_out)
    : rank_(rank), size_(size), time_out_(time_out) {
  if (rank_ == 0) listen_on(one_host);
}

Liveness::~Liveness() {
  leaving_ = true;  // without a word, unless leave() said it
  if (watcher_.joinable()) watcher_.join();
  for (const Peer& peer : peers_) close(peer.socket);
  if (listener_ >= 0) close(listener_);
}

void Liveness::listen_on(bool one_host) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(one_host ? INADDR_LOOPBACK : INADDR_ANY);
  socklen_t length = sizeof address;
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener_, size_) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("cannot listen for the other ranks");
  }
  uint64_t word = 0;
  if (getrandom(&word, sizeof word, 0) != sizeof word) fail("no random bytes");
  std::ostringstream text;
  text << ntohs(address.sin_port) << ' ' << word;
  for (const std::string& one : one_host ? std::vector<std::string>{"127.0.0.1"} : addresses())
    text << ' ' << one;
  address_ = text.str();
}

void Liveness::join(const std::string& address) {
  if (rank_ == 0) {
    accept_all();
  } else {
    connect_to(address);
  }
  for (Peer& peer : peers_) {
    const int on = 1;
    setsockopt(peer.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // The watcher never waits for one peer.
    fcntl(peer.socket, F_SETFL, fcntl(peer.socket, F_GETFL) | O_NONBLOCK);
    peer.heard = Clock::now();
  }
  // Signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  watcher_ = std::thread([this] { watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Liveness::accept_all() {
  std::istringstream text(address_);
  uint64_t port = 0, word = 0;
  text >> port >> word;
  std::vector<bool> here(static_cast<size_t>(size_));
  here[0] = true;
  const Clock::time_point until = Clock::now() + time_out_;
  while (static_cast<int>(peers_.size()) + 1 < size_) {
    pollfd ready{.fd = listener_, .events = POLLIN, .revents = 0};
    const auto left = duration_cast<milliseconds>(until - Clock::now());
    if (left.count() <= 0 || (poll(&ready, 1, static_cast<int>(left.count())) == 0)) {
      const auto missing = std::find(here.begin(), here.end(), false) - here.begin();
      lost(static_cast<int>(missing), /*silent=*/true);
      check();
    }
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    Hello hello;
    const bool known = receive_all(socket, &hello, sizeof hello, milliseconds(1000)) && hello.word == word &&
                       hello.rank > 0 && hello.rank < size_ && !here[static_cast<size_t>(hello.rank)];
    if (!known) {  // somebody else
      close(socket);
      continue;
    }
    here[static_cast<size_t>(hello.rank)] = true;
    peers_.push_back({.socket = socket, .rank = hello.rank, .heard = Clock::now()});
  }
  close(listener_);
  listener_ = -1;
}

void Liveness::connect_to(const std::string& address) {
  std::istringstream text(address);
  uint16_t port = 0;
  Hello hello{.word = 0, .rank = rank_};
  text >> port >> hello.word;
  const Clock::time_point until = Clock::now() + time_out_;
  std::vector<std::string> candidates;
  for (std::string one; text >> one;) candidates.push_back(one);
  while (Clock::now() < until) {
    for (const std::string& one : candidates) {
      const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (socket < 0) fail("cannot reach rank 0");
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      inet_pton(AF_INET, one.c_str(), &to.sin_addr);
      const int begun = connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to);
      pollfd ready{.fd = socket, .events = POLLOUT, .revents = 0};
      int problem = 0;
      socklen_t length = sizeof problem;
      const bool reached = (begun == 0 || errno == EINPROGRESS) && poll(&ready, 1, 2000) == 1 &&
                           getsockopt(socket, SOL_SOCKET, SO_ERROR, &problem, &length) == 0 && problem == 0;
      if (reached && send_all(socket, &hello, sizeof hello)) {
        peers_.push_back({.socket = socket, .rank = 0, .heard = Clock::now()});
        return;
      }
      close(socket);
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
  lost(0, /*silent=*/true);
  check();
}

void Liveness::watch() {
  const milliseconds beat = std::min(milliseconds(1000), time_out_ / 4);
  Clock::time_point next = Clock::now(), before = next;
  while (!leaving_ && lost_ < 0) {
    std::vector<pollfd> ready;
    for (const Peer& peer : peers_) {
      ready.push_back({.fd = peer.left ? -1 : peer.socket, .events = POLLIN, .revents = 0});
    }
    // Often enough for leave() not to be waited for.
    poll(ready.data(), ready.size(), static_cast<int>(std::min<int64_t>(beat.count(), 50)));
    const Clock::time_point now = Clock::now();
    // This process itself stood still: nobody can be blamed for silence.
    const bool stood_still = now - before > time_out_ / 2;
    before = now;
    for (size_t i = 0; i < peers_.size(); ++i) {
      Peer& peer = peers_[i];
      if (peer.left) continue;
      if (stood_still) peer.heard = now;
      if (ready[i].revents != 0) hear(peer);
      if (!peer.left && now - peer.heard > time_out_) lost(peer.rank, /*silent=*/true);
    }
    if (now < next) continue;
    next = now + beat;
    for (const Peer& peer : peers_) {
      if (!peer.left) send_all(peer.socket, &kBeat, 1);
    }
  }
}

void Liveness::hear(Peer& peer) {
  char bytes[256];
  const ssize_t got = recv(peer.socket, bytes, sizeof bytes, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lost(peer.rank, /*silent=*/false);
  peer.heard = Clock::now();
  for (ssize_t i = 0; i < got; ++i) {
    if (bytes[i] == kBye) peer.left = true;
    if (bytes[i] != kLost) continue;
    // Six bytes that rank 0 sends at once.
    if (got - i < 6) return lost(peer.rank, /*silent=*/false);
    int32_t rank = 0;
    std::memcpy(&rank, bytes + i + 1, sizeof rank);
    return lost(rank, bytes[i + 5] != 0);
  }
}

void Liveness::lost(int rank, bool silent) {
  if (lost_ >= 0) return;
  silent_ = silent;
  lost_ = rank;
  if (rank_ != 0) return;
  char notice[6] = {kLost};
  const int32_t number = rank;
  std::memcpy(notice + 1, &number, sizeof number);
  notice[5] = silent ? 1 : 0;
  for (const Peer& peer : peers_) {
    if (peer.rank != rank && !peer.left) send_all(peer.socket, notice, sizeof notice);
  }
}

void Liveness::check() const {
  const int rank = lost_;
  if (rank < 0) return;
  const std::string who = "rank " + std::to_string(rank) + " of " + std::to_string(size_);
  throw Error(
      ErrorKind::kRankLost,
      {.what = silent_ ? who + " has not answered for " +
                             std::to_string(duration_cast<std::chrono::seconds>(time_out_).count()) + " s"
                       : who + " has ended",
       .where = "rank " + std::to_string(rank_),
       .hint = "its own messages say why; --rank-timeout is how long a silence may last"});
}

void Liveness::leave() {
  if (leaving_.exchange(true)) return;
  for (const Peer& peer : peers_) {
    if (!peer.left) send_all(peer.socket, &kBye, 1);
  }
}

}  // namespace precis::parallel
