// The ranks of a training run as groups: a group's ranks share every document's windows, and the groups share
// the documents of an update.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/stop.h"
#include "parallel/communicator.h"

namespace precis::train {

class RankGrid {
 public:
  // `ranks_a_document` must divide the number of ranks: Error{kConfig} where it doesn't. Without it: as many
  // as leave no group without one of an update's `documents`.
  RankGrid(parallel::Communicator& ranks, std::optional<int64_t> ranks_a_document, int64_t documents);

  parallel::Communicator& all() const { return all_; }
  parallel::Communicator& group() const { return *group_; }
  int64_t groups() const { return all_.size() / group_->size(); }
  // Whether document `index` of an update is this group's.
  bool has(int64_t index) const { return index % groups() == all_.rank() / group_->size(); }

 private:
  parallel::Communicator& all_;
  std::unique_ptr<parallel::Communicator> group_;
};

// The leader's time, on every rank.
double agreed_seconds(parallel::Communicator& ranks, double seconds);
// The smallest of the ranks' values, below 2^53.
int64_t smallest(parallel::Communicator& ranks, int64_t value);
// Throws on every rank what throw_if_stopped() throws on one of them.
void throw_if_any_stopped(parallel::Communicator& ranks, const StopToken* stop);

}  // namespace precis::train
