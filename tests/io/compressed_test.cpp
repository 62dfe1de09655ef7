// Compressed streams: members and frames join, cuts and damage are errors, bombs cost no memory.
#include "io/compressed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <thread>

#include "base/compression_for_tests.h"
#include "base/error.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::string read_all(const std::filesystem::path& path, size_t piece = 1000) {
  const auto stream = open_stream(path);
  std::string all;
  std::string buffer(piece, '\0');
  while (const size_t got = stream->read(buffer.data(), buffer.size())) all.append(buffer, 0, got);
  return all;
}

std::string error_of(const std::filesystem::path& path) {
  return precis::error_of([&] { read_all(path); }, ErrorKind::kData);
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i * 7919 % 10007) + "\n";
  return text;
}

class Compressed : public testing::TestWithParam<std::string> {
 protected:
  std::string pack(const std::string& text) const { return GetParam() == ".gz" ? gzip(text) : zstd(text); }
  std::string name() const { return "f" + GetParam(); }
  TemporaryDirectory folder_;
};

TEST_P(Compressed, ReadsInPiecesOfAnySize) {
  const auto path = folder_.write(name(), pack(long_text()));
  for (const size_t piece : {1, 7, 4096, 10000000}) EXPECT_EQ(read_all(path, piece), long_text()) << piece;
}

TEST_P(Compressed, JoinsMembersAndFrames) {
  EXPECT_EQ(read_all(folder_.write(name(), pack("a\n") + pack("") + pack("b\n") + pack(long_text()))),
            "a\nb\n" + long_text());
}

TEST_P(Compressed, EveryCutIsAnError) {
  const std::string packed = pack("some text, some text, some more text");
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_THAT(error_of(folder_.write(name(), packed.substr(0, size))), HasSubstr("cut short")) << size;
  }
  const std::string two = pack("first") + packed;
  EXPECT_THAT(error_of(folder_.write(name(), two.substr(0, two.size() - 1))), HasSubstr("cut short"));
  const std::string large = pack(long_text());
  EXPECT_THAT(error_of(folder_.write(name(), large.substr(0, large.size() / 2))), HasSubstr("cut short"));
}

TEST_P(Compressed, DamageAndOtherDataAreErrors) {
  std::string packed = pack(long_text());
  packed[packed.size() / 2] ^= 0x10;
  EXPECT_NE(error_of(folder_.write(name(), packed)), "no error");
  EXPECT_THAT(error_of(folder_.write(name(), "plain text that is not compressed")), HasSubstr("damaged"));
  EXPECT_NE(error_of(folder_.write(name(), pack("x") + "rubbish")), "no error");
}

TEST_P(Compressed, ABombIsReadInBoundedMemory) {
  // 256 MiB from a quarter of a megabyte or less, through a buffer of 64 KiB.
  const std::string member = pack(std::string(size_t{1} << 24, 'x'));
  std::string bomb;
  for (int i = 0; i < 16; ++i) bomb += member;
  ASSERT_LT(bomb.size() * 1000, size_t{1} << 28);
  const auto path = folder_.write(name(), bomb);
  const auto stream = open_stream(path);
  std::string buffer(size_t{1} << 16, '\0');
  const size_t before = resident_bytes();
  size_t total = 0;
  while (const size_t got = stream->read(buffer.data(), buffer.size())) total += got;
  EXPECT_EQ(total, size_t{1} << 28);
  // The decoder's own window is at most 16 MiB here; the sanitizers' quarantine may add to it.
  EXPECT_LT(resident_bytes(), before + (size_t{1} << 26));
}

INSTANTIATE_TEST_SUITE_P(Formats, Compressed, testing::Values(".gz", ".zst"),
                         [](const auto& info) { return info.param.substr(1); });

TEST(Streams, TakeZerosThatPadAGzipFile) {
  const TemporaryDirectory folder;
  EXPECT_EQ(read_all(folder.write("f.gz", gzip("x") + std::string(512, '\0'))), "x");
  EXPECT_THAT(error_of(folder.write("f.gz", gzip("x") + std::string(512, '\0') + "y")),
              HasSubstr("not gzip data"));
}

TEST(Streams, ReadWhatHasAnOddName) {
  const TemporaryDirectory folder;
  EXPECT_EQ(read_all(folder.write("-x", "dash")), "dash");
  EXPECT_EQ(read_all(folder.write("cat /etc/passwd |", "pipe")), "pipe");
  EXPECT_EQ(read_all(folder.write("empty", "")), "");
}

TEST(Streams, ReadAFifo) {
  const TemporaryDirectory folder;
  const auto path = folder / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "through a pipe"; });
  EXPECT_EQ(read_all(path), "through a pipe");
  writer.join();
}

TEST(Streams, SayWhatCanNotBeRead) {
  const TemporaryDirectory folder;
  EXPECT_THAT(error_of(folder.path()), HasSubstr("a directory where a file is needed"));
  EXPECT_THAT(error_of(folder / "none.gz"), HasSubstr("none.gz: no such file"));
}

TEST(Streams, NameTheFormatWithin) {
  EXPECT_EQ(without_compression("a/b.jsonl.gz"), "b.jsonl");
  EXPECT_EQ(without_compression("a/b.jsonl"), "b.jsonl");
  EXPECT_EQ(without_compression("b.zst"), "b");
}

}  // namespace
}  // namespace precis
