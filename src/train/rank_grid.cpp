// Groups of ranks, and what ranks agree on.
#include "train/rank_grid.h"

#include "base/error.h"

namespace precis::train {

namespace {

int64_t fewest_a_document(int64_t ranks, int64_t documents) {
  int64_t a_document = 1;
  while (ranks % a_document != 0 || ranks / a_document > documents) ++a_document;
  return a_document;
}

}  // namespace

RankGrid::RankGrid(parallel::Communicator& ranks, std::optional<int64_t> ranks_a_document, int64_t documents)
    : all_(ranks) {
  const int64_t a_document = ranks_a_document.value_or(fewest_a_document(ranks.size(), documents));
  if (ranks.size() % a_document != 0) {
    throw Error(ErrorKind::kConfig,
                {.what = "the ranks can't be shared out",
                 .where = "batch.ranks_a_document",
                 .expected = "a divisor of the " + std::to_string(ranks.size()) + " ranks",
                 .found = std::to_string(a_document)});
  }
  group_ = ranks.split(static_cast<int>(ranks.rank() / a_document));
}

double agreed_seconds(parallel::Communicator& ranks, double seconds) {
  ranks.broadcast(&seconds, sizeof seconds, 0);
  return seconds;
}

int64_t smallest(parallel::Communicator& ranks, int64_t value) {
  double negative = -static_cast<double>(value);
  ranks.maximum(&negative, 1);
  return -static_cast<int64_t>(negative);
}

void throw_if_any_stopped(parallel::Communicator& ranks, const StopToken* stop) {
  if (ranks.size() == 1) return throw_if_stopped(stop);
  // The kind itself travels: ranks may be stopped by different signals, or one alone.
  double kind = stop != nullptr && stop->requested() ? static_cast<double>(stop->reason()) : -1.0;
  ranks.maximum(&kind, 1);
  if (kind >= 0) {
    throw Error(static_cast<ErrorKind>(static_cast<int>(kind)), {.what = "stopped by a signal"});
  }
}

}  // namespace precis::train
