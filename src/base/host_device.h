// Marks functions that nvcc compiles for a GPU too.
#pragma once

#ifdef __CUDACC__
#define PRECIS_HOST_DEVICE __host__ __device__
#else
#define PRECIS_HOST_DEVICE
#endif
