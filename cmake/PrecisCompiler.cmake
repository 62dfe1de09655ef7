# Compiler settings shared by every target.
find_program(PRECIS_CCACHE ccache)
if(PRECIS_CCACHE)
  # The sloppiness lets ccache work with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${PRECIS_CCACHE})
endif()
# For C++ alone, as all flags of g++ here: nvcc has its own.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unused-parameter;-Wno-missing-field-initializers>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")  # else ccache takes every precompiled header for another
endif()
find_program(PRECIS_MOLD mold)
if(PRECIS_MOLD)
  add_link_options(-fuse-ld=mold)
  execute_process(COMMAND ${PRECIS_MOLD} --version OUTPUT_VARIABLE mold_version)
  if(mold_version MATCHES "^mold 1\\.")
    # It begins the part that is made read-only at .tbss, which may lie in a page that nothing is mapped to: such a
    # program can't be started.
    add_link_options(-Wl,-z,norelro)
  endif()
endif()
# For what no time is spent in, the command line and the tests: they compile sooner than with -O3.
set(PRECIS_QUICK_BUILD $<$<CONFIG:Release>:-O1>)
if(PRECIS_SANITIZE)
  add_compile_options(-fsanitize=${PRECIS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PRECIS_SANITIZE})
endif()
