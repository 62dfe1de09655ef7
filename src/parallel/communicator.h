// The ranks of a run: processes that mpirun or srun started together, or this one alone. What one rank calls,
// all ranks of the communicator call, in the same order; a rank that has ended or does not answer makes every
// call an Error{kRankLost} that names it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace precis::parallel {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool leads() const { return rank() == 0; }
  // Ranks of the run on this host, this one among them.
  virtual int on_this_host() const = 0;
  // This one's place among those, from 0.
  virtual int place_on_host() const = 0;

  // Over the ranks, in place; every rank has the same bits then.
  virtual void sum(float* data, int64_t count) = 0;
  virtual void sum(double* data, int64_t count) = 0;
  virtual void maximum(float* data, int64_t count) = 0;
  virtual void maximum(double* data, int64_t count) = 0;
  // The bytes of rank `root`, on every rank.
  virtual void broadcast(void* data, int64_t bytes, int root) = 0;
  // Every rank's bytes, of any length, in the order of ranks; on every rank.
  virtual std::vector<std::string> gather(const std::string& bytes) = 0;
  // Returns when every rank has come here.
  virtual void barrier() = 0;
  // The ranks of one colour, in their order here.
  virtual std::unique_ptr<Communicator> split(int colour) = 0;
};

// This process alone: every call does nothing.
Communicator& one_rank();

// `text` of the leader, on every rank.
std::string from_leader(Communicator& ranks, const std::string& text);

}  // namespace precis::parallel
