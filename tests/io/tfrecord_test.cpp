// CRC-32C against RFC 3720's values; the record's layout byte by byte.
#include "io/tfrecord.h"

#include <gtest/gtest.h>

namespace precis {
namespace {

TEST(TfRecord, ChecksumsAreThoseOfTheRfc) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (char byte = 0; byte < 32; ++byte) rising += byte;
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
}

TEST(TfRecord, ARecordIsLengthChecksumBytesChecksum) {
  const std::string record = tfrecord("123456789");
  ASSERT_EQ(record.size(), 8 + 4 + 9 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\x09\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 9), "123456789");
  // 0xE3069283 turned right by 15 is 0x2507C60D; with 0xA282EAD8 it is 0xC78AB0E5.
  EXPECT_EQ(record.substr(21), "\xE5\xB0\x8A\xC7");
  EXPECT_EQ(tfrecord("").size(), 16u);
}

}  // namespace
}  // namespace precis
