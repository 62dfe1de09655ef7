# Third-party libraries, all from Debian but libtorch.
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(ICU REQUIRED COMPONENTS uc)
find_package(Threads REQUIRED)
# Ranks: optional. Without it a program runs alone.
set(MPI_CXX_SKIP_MPICXX TRUE)  # its C interface alone
find_package(MPI COMPONENTS CXX)
set(PRECIS_MPI ${MPI_CXX_FOUND})
find_package(PkgConfig REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
if(PRECIS_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

if(PRECIS_FUZZ)
  # One precompiled header for all: half of the time that clang needs under its sanitizers.
  file(WRITE ${CMAKE_BINARY_DIR}/fuzz_pch.cpp "// Holds the shared precompiled header.\n")
  add_library(precis_fuzz_pch STATIC ${CMAKE_BINARY_DIR}/fuzz_pch.cpp)
  target_precompile_headers(precis_fuzz_pch PRIVATE
    <nlohmann/json.hpp> <algorithm> <filesystem> <functional> <map> <memory> <optional> <set> <string> <vector>)
endif()

if(PRECIS_WITH_TORCH)
  find_library(PRECIS_TCMALLOC tcmalloc_minimal)
  if(NOT PRECIS_TCMALLOC)
    message(STATUS "No tcmalloc_minimal: training keeps more memory (docs/decisions/0009-allocator.md)")
  endif()
  if(NOT PRECIS_TORCH)
    file(GLOB found ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
    if(NOT found)
      message(FATAL_ERROR "No libtorch: run scripts/setup, or give -DPRECIS_TORCH=DIR")
    endif()
    list(GET found 0 PRECIS_TORCH)
  endif()
  include(PrecisCuda)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  find_package(Torch REQUIRED PATHS ${PRECIS_TORCH} ${PRECIS_TORCH}/share/cmake NO_DEFAULT_PATH)
  list(FILTER TORCH_LIBRARIES EXCLUDE REGEX "-NOTFOUND$")  # nvrtc, which the toolkit may lack (PrecisCuda.cmake)
  add_library(precis_torch INTERFACE)
  target_link_libraries(precis_torch INTERFACE ${TORCH_LIBRARIES})
  # -fPIC for programs too (CMake gives them -fPIE), or they could not use the precompiled header. Without OpenMP
  # at::parallel_for, a template, runs on one thread; its library is named by a flag and not by the compiler's own path,
  # since the one that libtorch brings is to be found.
  target_compile_options(precis_torch INTERFACE ${TORCH_CXX_FLAGS_LIST} -fPIC ${OpenMP_CXX_FLAGS})
  target_link_options(precis_torch INTERFACE ${OpenMP_CXX_FLAGS})
  target_include_directories(precis_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  # One precompiled header for every layer that uses libtorch: 20 to 35 s once.
  file(WRITE ${CMAKE_BINARY_DIR}/torch_pch.cpp "// Holds the shared precompiled header.\n")
  add_library(precis_torch_pch STATIC ${CMAKE_BINARY_DIR}/torch_pch.cpp)
  target_link_libraries(precis_torch_pch PUBLIC precis_torch)
  target_precompile_headers(precis_torch_pch PRIVATE
    <ATen/ATen.h> <torch/csrc/autograd/custom_function.h> <torch/csrc/autograd/autograd.h>
    <string> <vector> <memory> <functional> <optional> <map>)
endif()
