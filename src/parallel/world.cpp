// Open MPI as a communicator. Every operation is begun and then polled, so that a lost rank ends the wait.
#include "parallel/world.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>

#include "base/error.h"
#include "parallel/liveness.h"

#ifdef PRECIS_WITH_MPI
#include <mpi.h>
#endif

namespace precis::parallel {

namespace {

int64_t count_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtoll(text, nullptr, 10);
}

}  // namespace

bool started_as_rank() {
  // srun sets SLURM_NTASKS in an allocation's own shell too, but a step's rank only in its tasks.
  const bool slurm = std::getenv("SLURM_PROCID") != nullptr && std::getenv("SLURM_STEP_ID") != nullptr &&
                     count_in("SLURM_STEP_NUM_TASKS") > 1;
  return count_in("OMPI_COMM_WORLD_SIZE") > 1 || slurm;
}

#ifdef PRECIS_WITH_MPI

namespace {

using std::chrono::microseconds;

// Counts of MPI are ints: larger operations are done in parts.
constexpr int64_t kPart = int64_t{1} << 28;

class MpiRanks : public Communicator {
 public:
  MpiRanks(MPI_Comm comm, std::shared_ptr<Liveness> liveness, int on_this_host)
      : comm_(comm), liveness_(std::move(liveness)), on_this_host_(on_this_host) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiRanks() override {
    if (comm_ != MPI_COMM_WORLD && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int on_this_host() const override { return on_this_host_; }
  void sum(float* data, int64_t count) override { reduce(data, count, MPI_FLOAT, MPI_SUM); }
  void sum(double* data, int64_t count) override { reduce(data, count, MPI_DOUBLE, MPI_SUM); }
  void maximum(float* data, int64_t count) override { reduce(data, count, MPI_FLOAT, MPI_MAX); }
  void maximum(double* data, int64_t count) override { reduce(data, count, MPI_DOUBLE, MPI_MAX); }

  void broadcast(void* data, int64_t bytes, int root) override {
    for (int64_t done = 0; done < bytes; done += kPart) {
      MPI_Request request;
      MPI_Ibcast(static_cast<char*>(data) + done, static_cast<int>(std::min(kPart, bytes - done)), MPI_BYTE,
                 root, comm_, &request);
      wait(request);
    }
  }

  std::vector<std::string> gather(const std::string& bytes) override {
    std::vector<std::string> all(static_cast<size_t>(size_));
    for (int root = 0; root < size_; ++root) {
      int64_t length = static_cast<int64_t>(bytes.size());
      broadcast(&length, sizeof length, root);
      std::string& one = all[static_cast<size_t>(root)];
      one = root == rank_ ? bytes : std::string(static_cast<size_t>(length), '\0');
      broadcast(one.data(), length, root);
    }
    return all;
  }

  void barrier() override {
    MPI_Request request;
    MPI_Ibarrier(comm_, &request);
    wait(request);
  }

  std::unique_ptr<Communicator> split(int colour) override {
    barrier();  // the split itself is not polled
    MPI_Comm part;
    MPI_Comm_split(comm_, colour, rank_, &part);
    return std::make_unique<MpiRanks>(part, liveness_, on_this_host_);
  }

 protected:
  const std::shared_ptr<Liveness>& liveness() const { return liveness_; }

 private:
  template <typename Element>
  void reduce(Element* data, int64_t count, MPI_Datatype type, MPI_Op operation) {
    for (int64_t done = 0; done < count; done += kPart) {
      MPI_Request request;
      MPI_Iallreduce(MPI_IN_PLACE, data + done, static_cast<int>(std::min(kPart, count - done)), type,
                     operation, comm_, &request);
      wait(request);
    }
  }

  void wait(MPI_Request& request) const {
    const auto began = std::chrono::steady_clock::now();
    for (int64_t turn = 0;; ++turn) {
      int done = 0;
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done != 0) return;
      if (turn % 64 != 63) {
        sched_yield();
        continue;
      }
      liveness_->check();
      // A rank that has more to compute is waited for without taking a core from anybody.
      if (std::chrono::steady_clock::now() - began > std::chrono::milliseconds(20)) {
        std::this_thread::sleep_for(microseconds(100));
      }
    }
  }

  MPI_Comm comm_;
  std::shared_ptr<Liveness> liveness_;
  int rank_ = 0, size_ = 1, on_this_host_;
};

class MpiWorld : public MpiRanks {
 public:
  MpiWorld(std::shared_ptr<Liveness> liveness, int on_this_host)
      : MpiRanks(MPI_COMM_WORLD, std::move(liveness), on_this_host) {}
  ~MpiWorld() override {
    // An error of this rank's own: its end tells the others.
    if (std::uncaught_exceptions() > 0) return;
    try {
      barrier();
    } catch (const Error&) {
      return;  // MPI's own end would wait for the lost rank
    }
    liveness()->leave();
    MPI_Finalize();
  }
};

int count_on_this_host() {
  int here = 0;
  MPI_Comm host;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &here);
  MPI_Comm_free(&host);
  return here;
}

}  // namespace

bool has_mpi() { return true; }

std::unique_ptr<Communicator> join_world(std::chrono::milliseconds time_out) {
  int provided = 0, rank = 0, size = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int here = count_on_this_host();
  const auto liveness = std::make_shared<Liveness>(rank, size, here == size, time_out);
  // Not polled yet: a rank that ends here ends mpirun's or srun's whole run.
  std::string address = liveness->address();
  int length = static_cast<int>(address.size());
  MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD);
  address.resize(static_cast<size_t>(length));
  MPI_Bcast(address.data(), length, MPI_CHAR, 0, MPI_COMM_WORLD);
  liveness->join(address);
  return std::make_unique<MpiWorld>(liveness, here);
}

#else

bool has_mpi() { return false; }

std::unique_ptr<Communicator> join_world(std::chrono::milliseconds) {
  throw Error(ErrorKind::kUnsupported, {.what = "this program was built without MPI",
                                        .where = "ranks",
                                        .hint = "install libopenmpi-dev and build again"});
}

#endif

}  // namespace precis::parallel
