# CUDA, where libtorch was built with it: its own CMake files then want the toolkit's nvcc, and so do our kernels.
# Sets PRECIS_CUDA. To be included before libtorch is looked for.
set(PRECIS_CUDA OFF)
if(EXISTS ${PRECIS_TORCH}/lib/libtorch_cuda.so)
  set(PRECIS_CUDA ON)
  # libtorch's own name for what nvcc compiles for: the A100 and the H100; later GPUs take the PTX.
  set(TORCH_CUDA_ARCH_LIST "8.0;9.0+PTX" CACHE STRING "GPU architectures, or All")
  find_package(CUDAToolkit)
  if(NOT CUDAToolkit_FOUND)
    message(FATAL_ERROR "The libtorch in ${PRECIS_TORCH} has CUDA: install the CUDA toolkit, or take one without CUDA")
  endif()
  # libtorch's files look beside the name that nvcc was found under, which may be a script's.
  get_filename_component(CUDA_TOOLKIT_ROOT_DIR ${CUDAToolkit_BIN_DIR} DIRECTORY)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  # CMake 3.25 knows no later one for nvcc. Our kernels include nothing of libtorch.
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # that of libtorch: one a program
  # libtorch's files name these too, which its own libraries bring at run time: nothing of ours calls them, and a
  # toolkit of nvcc and the runtime alone will do.
  foreach(library cuda_driver cublas cublasLt cufft curand nvrtc)
    if(NOT TARGET CUDA::${library})
      add_library(CUDA::${library} INTERFACE IMPORTED GLOBAL)
    endif()
  endforeach()
endif()
