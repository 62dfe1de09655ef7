// Joins the ranks that mpirun or srun started.
#pragma once

#include <chrono>
#include <memory>

#include "parallel/communicator.h"

namespace precis::parallel {

// Whether a launcher started this process as one of several ranks, by the environment that Open MPI and Slurm
// give it.
bool started_as_rank();
// All ranks of the run; to be made once, in the main thread, and to live as long as ranks are spoken to. Its
// end waits for the others, unless one is lost. A rank that is silent for `time_out` is lost. Throws
// Error{kUnsupported} where MPI can't be loaded, Error{kRankLost} where a rank does not come.
std::unique_ptr<Communicator> join_world(std::chrono::milliseconds time_out);

}  // namespace precis::parallel
