// Finds out that a rank has ended, or no longer answers, while the others wait for it. Every rank holds a
// connection to rank 0, which the kernel closes when the process ends however it ends, and sends a byte over
// it again and again, which stops when the process or its machine does. Rank 0 tells the others.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace precis::parallel {

class Liveness {
 public:
  // Rank 0 listens: on the loopback device alone where all ranks share its host. Throws Error{kIo}.
  Liveness(int rank, int size, bool one_host, std::chrono::milliseconds time_out);
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // Where rank 0 listens, and the word that it asks for; empty on another rank.
  const std::string& address() const { return address_; }
  // With rank 0's address. Returns when this rank is connected, or, on rank 0, when all are. Throws
  // Error{kRankLost} after the time-out.
  void join(const std::string& address);
  // Throws Error{kRankLost} naming a rank that has ended or has been silent for the time-out.
  void check() const;
  // Says goodbye: without it, the end of this rank is told to the others.
  void leave();

 private:
  using Clock = std::chrono::steady_clock;
  struct Peer {
    int socket = -1;
    int rank = 0;
    Clock::time_point heard;
    bool left = false;
  };

  void listen_on(bool one_host);
  void accept_all();
  void connect_to(const std::string& address);
  void watch();
  void hear(Peer& peer);
  void lost(int rank, bool silent);

  int rank_, size_;
  std::chrono::milliseconds time_out_;
  std::string address_;
  int listener_ = -1;
  std::vector<Peer> peers_;
  std::thread watcher_;
  std::atomic<bool> leaving_ = false;
  std::atomic<int> lost_ = -1;
  std::atomic<bool> silent_ = false;
};

}  // namespace precis::parallel
