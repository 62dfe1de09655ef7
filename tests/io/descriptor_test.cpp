// Reads from pipes: to their end, and stopped while they wait.
#include "io/descriptor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/temporary_directory.h"

namespace precis {
namespace {

using namespace std::chrono_literals;

class Fifo : public testing::Test {
 protected:
  Fifo() { EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0); }

  TemporaryDirectory folder_;
  std::filesystem::path path_ = folder_.path() / "fifo";
  StopToken stop_;
};

std::string read_all(const Descriptor& file) {
  std::string all;
  char buffer[4];
  while (const size_t got = file.read(buffer, sizeof buffer)) all.append(buffer, got);
  return all;
}

TEST_F(Fifo, IsReadToItsEndHoweverLateTheWriter) {
  const Descriptor file = open_for_reading(path_, ErrorKind::kData, &stop_);
  std::thread writer([&] {
    std::this_thread::sleep_for(150ms);
    std::ofstream out(path_);
    out << "first " << std::flush;
    std::this_thread::sleep_for(150ms);
    out << "second";
  });
  EXPECT_EQ(read_all(file), "first second");
  writer.join();
}

TEST_F(Fifo, AStopEndsTheWaitForAWriterAndForMore) {
  for (const bool written : {false, true}) {
    StopToken stop;
    const Descriptor file = open_for_reading(path_, ErrorKind::kData, &stop);
    std::ofstream out;
    if (written) {
      out.open(path_);
      out << "some" << std::flush;
    }
    std::thread signal([&] {
      std::this_thread::sleep_for(150ms);
      stop.request(ErrorKind::kTerminated);
    });
    try {
      read_all(file);
      ADD_FAILURE() << "read to an end that was not there";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kTerminated);
    }
    signal.join();
  }
}

}  // namespace
}  // namespace precis
