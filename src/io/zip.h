// The directory of a zip archive (APPNOTE.TXT of PKWARE) whose members are stored, not compressed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "io/descriptor.h"

namespace precis {

struct ZipMember {
  int64_t begin = 0;  // of its bytes, in the archive
  int64_t bytes = 0;
};

// Names as they are written, folders included. Error{kModel} where the file is no zip archive, has parts
// elsewhere, a directory of more than 100 MB, or a member that is compressed, encrypted, named twice or not
// wholly in the file before the directory. Checksums are not looked at.
std::map<std::string, ZipMember> read_zip_directory(const Descriptor& file);

}  // namespace precis
