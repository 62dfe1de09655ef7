// What this program asks of MPI, as a table of functions. They are in a library of their own, which is loaded
// where a launcher started the process: MPI is the machine's, and a program that runs alone does without.
#pragma once

#include <cstdint>

namespace precis::parallel {

enum class MpiType : int { kFloat, kDouble };
enum class MpiOperation : int { kSum, kMaximum };

struct MpiCalls {
  // Joins the ranks. `on_this_host`: how many of them share this host, and this one's place among those.
  // Returns the world. Calls may then come from any thread, one at a time.
  void* (*begin)(int* rank, int* size, int* on_this_host, int* place_on_host);
  void (*end)();
  // Rank 0's bytes, waited for.
  void (*broadcast_now)(void* comm, void* data, int bytes);
  // Each begins an operation that test() tells the end of, once.
  void* (*reduce)(void* comm, void* data, int count, MpiType type, MpiOperation operation);
  void* (*broadcast)(void* comm, void* data, int bytes, int root);
  void* (*barrier)(void* comm);
  bool (*test)(void* request);
  // The ranks of one colour.
  void* (*split)(void* comm, int colour, int key, int* rank, int* size);
  void (*free)(void* comm);
};

// The name and the function of the library that has them.
inline constexpr const char* kMpiLibrary = "libprecis_mpi.so";
inline constexpr const char* kMpiEntry = "precis_mpi_calls";

}  // namespace precis::parallel
