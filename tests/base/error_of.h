// The message of what a piece of work throws.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace precis {

// "no error" where nothing is thrown; an Error of another kind fails the test.
template <typename Work>
std::string error_of(const Work& work, ErrorKind kind) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no error";
}

}  // namespace precis
