// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace precis::cli {

// "1,234,567"
std::string grouped(int64_t number);
// "1 window", "2 windows".
std::string counted(int64_t number, const std::string& noun);
// "1:02:03", "4:05"; "-" where it is unknown (negative).
std::string format_seconds(double seconds);

}  // namespace precis::cli
