// Ranks as threads of one process, for tests.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "parallel/communicator.h"

namespace precis::parallel {

class ThreadRanks : public Communicator {
 public:
  struct Shared {
    explicit Shared(int size)
        : meet(size), places(static_cast<size_t>(size)), texts(static_cast<size_t>(size)) {}
    std::barrier<> meet;
    std::vector<const void*> places;
    std::vector<std::string> texts;
    std::map<int, std::shared_ptr<Shared>> parts;  // of the last split
  };

  ThreadRanks(int rank, std::shared_ptr<Shared> shared) : rank_(rank), shared_(std::move(shared)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(shared_->places.size()); }
  int on_this_host() const override { return size(); }
  int place_on_host() const override { return rank_; }
  void sum(float* data, int64_t count) override { reduce(data, count, std::plus<float>()); }
  void sum(double* data, int64_t count) override { reduce(data, count, std::plus<double>()); }
  void maximum(float* data, int64_t count) override {
    reduce(data, count, [](float a, float b) { return std::max(a, b); });
  }
  void maximum(double* data, int64_t count) override {
    reduce(data, count, [](double a, double b) { return std::max(a, b); });
  }
  void broadcast(void* data, int64_t bytes, int root) override {
    shared_->places[static_cast<size_t>(rank_)] = data;
    barrier();
    if (rank_ != root)
      std::memcpy(data, shared_->places[static_cast<size_t>(root)], static_cast<size_t>(bytes));
    barrier();
  }
  std::vector<std::string> gather(const std::string& bytes) override {
    shared_->texts[static_cast<size_t>(rank_)] = bytes;
    barrier();
    std::vector<std::string> all = shared_->texts;
    barrier();
    return all;
  }
  void barrier() override { shared_->meet.arrive_and_wait(); }
  std::unique_ptr<Communicator> split(int colour) override {
    const std::vector<std::string> colours = gather(std::to_string(colour));
    int place = 0, count = 0;
    for (int rank = 0; rank < size(); ++rank) {
      if (colours[static_cast<size_t>(rank)] != std::to_string(colour)) continue;
      if (rank < rank_) ++place;
      ++count;
    }
    for (int turn = 0; turn < size(); ++turn) {  // a map is written by one thread at a time
      if (turn == rank_ && place == 0) shared_->parts[colour] = std::make_shared<Shared>(count);
      barrier();
    }
    std::shared_ptr<Shared> part = shared_->parts[colour];
    barrier();
    return std::make_unique<ThreadRanks>(place, part);
  }

 private:
  template <typename Element, typename Operation>
  void reduce(Element* data, int64_t count, const Operation& operation) {
    shared_->places[static_cast<size_t>(rank_)] = data;
    barrier();
    std::vector<Element> result(static_cast<const Element*>(shared_->places[0]),
                                static_cast<const Element*>(shared_->places[0]) + count);
    for (size_t rank = 1; rank < shared_->places.size(); ++rank) {
      const auto* other = static_cast<const Element*>(shared_->places[rank]);
      for (int64_t i = 0; i < count; ++i)
        result[static_cast<size_t>(i)] = operation(result[static_cast<size_t>(i)], other[i]);
    }
    barrier();
    std::copy(result.begin(), result.end(), data);
  }

  int rank_;
  std::shared_ptr<Shared> shared_;
};

// Calls work(ranks) in `size` threads that are each other's ranks.
inline void on_ranks(int size, const std::function<void(Communicator&)>& work) {
  const auto shared = std::make_shared<ThreadRanks::Shared>(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRanks ranks(rank, shared);
      work(ranks);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace precis::parallel
