// libprecis_mpi.so: the table of mpi_calls.h over the MPI that this was built with.
#include <mpi.h>

#include "parallel/mpi_calls.h"

namespace precis::parallel {

namespace {

MPI_Comm of(void* comm) { return *static_cast<MPI_Comm*>(comm); }

void* begin(int* rank, int* size, int* on_this_host, int* place_on_host) {
  static MPI_Comm world = MPI_COMM_WORLD;
  int provided = 0;
  // What is computed on a GPU is differentiated in a thread of libtorch's.
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  MPI_Comm_rank(world, rank);
  MPI_Comm_size(world, size);
  MPI_Comm host;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, on_this_host);
  MPI_Comm_rank(host, place_on_host);
  MPI_Comm_free(&host);
  return &world;
}

void end() { MPI_Finalize(); }

void broadcast_now(void* comm, void* data, int bytes) { MPI_Bcast(data, bytes, MPI_BYTE, 0, of(comm)); }

void* reduce(void* comm, void* data, int count, MpiType type, MpiOperation operation) {
  auto* request = new MPI_Request;
  MPI_Iallreduce(MPI_IN_PLACE, data, count, type == MpiType::kFloat ? MPI_FLOAT : MPI_DOUBLE,
                 operation == MpiOperation::kSum ? MPI_SUM : MPI_MAX, of(comm), request);
  return request;
}

void* broadcast(void* comm, void* data, int bytes, int root) {
  auto* request = new MPI_Request;
  MPI_Ibcast(data, bytes, MPI_BYTE, root, of(comm), request);
  return request;
}

void* barrier(void* comm) {
  auto* request = new MPI_Request;
  MPI_Ibarrier(of(comm), request);
  return request;
}

bool test(void* request) {
  int done = 0;
  MPI_Test(static_cast<MPI_Request*>(request), &done, MPI_STATUS_IGNORE);
  if (done != 0) delete static_cast<MPI_Request*>(request);
  return done != 0;
}

void* split(void* comm, int colour, int key, int* rank, int* size) {
  auto* part = new MPI_Comm;
  MPI_Comm_split(of(comm), colour, key, part);
  MPI_Comm_rank(*part, rank);
  MPI_Comm_size(*part, size);
  return part;
}

void free(void* comm) {
  MPI_Comm_free(static_cast<MPI_Comm*>(comm));
  delete static_cast<MPI_Comm*>(comm);
}

}  // namespace

}  // namespace precis::parallel

extern "C" __attribute__((visibility("default"))) const precis::parallel::MpiCalls* precis_mpi_calls() {
  using namespace precis::parallel;
  static const MpiCalls calls = {.begin = begin,
                                 .end = end,
                                 .broadcast_now = broadcast_now,
                                 .reduce = reduce,
                                 .broadcast = broadcast,
                                 .barrier = barrier,
                                 .test = test,
                                 .split = split,
                                 .free = free};
  return &calls;
}
