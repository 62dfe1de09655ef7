// MPI as a communicator. Every operation is begun and then polled, so that a lost rank ends the wait.
#include "parallel/world.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/error.h"
#include "parallel/liveness.h"
#include "parallel/mpi_calls.h"

namespace precis::parallel {

namespace {

int64_t count_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtoll(text, nullptr, 10);
}

// Counts of MPI are ints: larger operations are done in parts.
constexpr int64_t kPart = int64_t{1} << 28;

class MpiRanks : public Communicator {
 public:
  struct Place {
    int rank = 0, size = 1, on_this_host = 1, place_on_host = 0;
  };

  MpiRanks(const MpiCalls& mpi, void* comm, std::shared_ptr<Liveness> liveness, Place place)
      : mpi_(mpi), comm_(comm), liveness_(std::move(liveness)), place_(place) {}

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  int on_this_host() const override { return place_.on_this_host; }
  int place_on_host() const override { return place_.place_on_host; }
  void sum(float* data, int64_t count) override { reduce(data, count, MpiType::kFloat, MpiOperation::kSum); }
  void sum(double* data, int64_t count) override {
    reduce(data, count, MpiType::kDouble, MpiOperation::kSum);
  }
  void maximum(float* data, int64_t count) override {
    reduce(data, count, MpiType::kFloat, MpiOperation::kMaximum);
  }
  void maximum(double* data, int64_t count) override {
    reduce(data, count, MpiType::kDouble, MpiOperation::kMaximum);
  }

  void broadcast(void* data, int64_t bytes, int root) override {
    for (int64_t done = 0; done < bytes; done += kPart) {
      wait(mpi_.broadcast(comm_, static_cast<char*>(data) + done,
                          static_cast<int>(std::min(kPart, bytes - done)), root));
    }
  }

  std::vector<std::string> gather(const std::string& bytes) override {
    std::vector<std::string> all(static_cast<size_t>(size()));
    for (int root = 0; root < size(); ++root) {
      int64_t length = static_cast<int64_t>(bytes.size());
      broadcast(&length, sizeof length, root);
      std::string& one = all[static_cast<size_t>(root)];
      one = root == rank() ? bytes : std::string(static_cast<size_t>(length), '\0');
      broadcast(one.data(), length, root);
    }
    return all;
  }

  void barrier() override { wait(mpi_.barrier(comm_)); }

  std::unique_ptr<Communicator> split(int colour) override;

 protected:
  template <typename Element>
  void reduce(Element* data, int64_t count, MpiType type, MpiOperation operation) {
    for (int64_t done = 0; done < count; done += kPart) {
      wait(mpi_.reduce(comm_, data + done, static_cast<int>(std::min(kPart, count - done)), type, operation));
    }
  }

  void wait(void* request) const {
    const auto began = std::chrono::steady_clock::now();
    for (int64_t turn = 0; !mpi_.test(request); ++turn) {
      if (turn % 64 != 63) {
        sched_yield();
        continue;
      }
      liveness_->check();
      // A rank that has more to compute is waited for without taking a core from anybody.
      if (std::chrono::steady_clock::now() - began > std::chrono::milliseconds(20)) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }

  const MpiCalls& mpi_;
  void* comm_;
  std::shared_ptr<Liveness> liveness_;
  Place place_;
};

class MpiPart : public MpiRanks {
 public:
  using MpiRanks::MpiRanks;
  ~MpiPart() override {
    if (std::uncaught_exceptions() == 0) mpi_.free(comm_);
  }
};

std::unique_ptr<Communicator> MpiRanks::split(int colour) {
  barrier();  // the split itself is not polled
  Place place{.on_this_host = place_.on_this_host, .place_on_host = place_.place_on_host};
  void* const part = mpi_.split(comm_, colour, rank(), &place.rank, &place.size);
  return std::make_unique<MpiPart>(mpi_, part, liveness_, place);
}

class MpiWorld : public MpiRanks {
 public:
  using MpiRanks::MpiRanks;
  ~MpiWorld() override {
    // An error of this rank's own: its end tells the others.
    if (std::uncaught_exceptions() > 0) return;
    try {
      barrier();
    } catch (const Error&) {
      return;  // MPI's own end would wait for the lost rank
    }
    liveness_->leave();
    mpi_.end();
  }
};

// Beside the program, as it is built, or in its tree's lib/precis, as it is installed.
const MpiCalls& load_mpi() {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::string problem;
  for (const std::filesystem::path& folder : {program, program.parent_path() / "lib" / "precis"}) {
    // Global: Open MPI loads parts of its own that look for it among what is loaded.
    void* const library = dlopen((folder / kMpiLibrary).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library != nullptr) {
      using Entry = const MpiCalls* (*)();
      return *reinterpret_cast<Entry>(dlsym(library, kMpiEntry))();
    }
    if (std::filesystem::exists(folder / kMpiLibrary) || problem.empty()) problem = dlerror();
  }
  throw Error(ErrorKind::kUnsupported,
              {.what = "a launcher started several ranks, and MPI can't be loaded",
               .where = kMpiLibrary,
               .found = problem,
               .hint = "it is built where CMake finds Open MPI (libopenmpi-dev), and needs "
                       "the library of that version"});
}

}  // namespace

bool started_as_rank() {
  // srun sets SLURM_NTASKS in an allocation's own shell too, but a step's rank only in its tasks.
  const bool slurm = std::getenv("SLURM_PROCID") != nullptr && std::getenv("SLURM_STEP_ID") != nullptr &&
                     count_in("SLURM_STEP_NUM_TASKS") > 1;
  return count_in("OMPI_COMM_WORLD_SIZE") > 1 || slurm;
}

std::unique_ptr<Communicator> join_world(std::chrono::milliseconds time_out) {
  const MpiCalls& mpi = load_mpi();
  MpiRanks::Place place;
  void* const world = mpi.begin(&place.rank, &place.size, &place.on_this_host, &place.place_on_host);
  const auto liveness =
      std::make_shared<Liveness>(place.rank, place.size, place.on_this_host == place.size, time_out);
  // Not polled yet: a rank that ends here ends mpirun's or srun's whole run.
  std::string address = liveness->address();
  int length = static_cast<int>(address.size());
  mpi.broadcast_now(world, &length, sizeof length);
  address.resize(static_cast<size_t>(length));
  mpi.broadcast_now(world, address.data(), length);
  liveness->join(address);
  return std::make_unique<MpiWorld>(mpi, world, liveness, place);
}

}  // namespace precis::parallel
