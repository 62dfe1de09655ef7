// TFRecord framing, the container of TensorBoard's event files: a length, its checksum, the bytes, their
// checksum (TensorFlow, core/lib/io/record_writer.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace precis {

// CRC-32C (Castagnoli), as RFC 3720 has it.
uint32_t crc32c(std::string_view bytes);

// One record, ready to be appended to a file.
std::string tfrecord(std::string_view bytes);

}  // namespace precis
