# What `cmake --install` makes: a tree that runs, and can be linked with, wherever it is moved to.
#   bin/precis, lib/libprecis.so, include/precis, lib/cmake/Precis, share, the model among it
#   lib/precis: the libraries that both need and that not every Debian has, libtorch first
# lib/precis is no folder that other programs search, so that nothing of the system's is hidden.

# libprecis.so: the public interface and nothing else. Its objects are in the layers' libraries.
file(WRITE ${CMAKE_BINARY_DIR}/library.cpp "// Everything is in the layers.\n")
add_library(precis_library SHARED ${CMAKE_BINARY_DIR}/library.cpp)
set(exports ${CMAKE_SOURCE_DIR}/cmake/exports.map)
set(whole precis_base,precis_text,precis_generate,precis_summarize)
set_target_properties(precis_library PROPERTIES OUTPUT_NAME precis VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${exports} INSTALL_RPATH "$ORIGIN/precis"
  LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,${whole}")
target_link_libraries(precis_library PRIVATE "$<LINK_LIBRARY:WHOLE_ARCHIVE,${whole}>")
target_link_options(precis_library PRIVATE -Wl,--version-script=${exports})
target_include_directories(precis_library INTERFACE ${CMAKE_SOURCE_DIR}/include)

set_target_properties(precis PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/precis")
# DT_RPATH in the place of DT_RUNPATH: it also finds what a library needs that was copied and has no path itself.
foreach(target precis precis_library)
  target_link_options(${target} PRIVATE -Wl,--disable-new-dtags)
endforeach()

install(TARGETS precis precis_library RUNTIME_DEPENDENCY_SET precis_needs
  RUNTIME DESTINATION bin LIBRARY DESTINATION lib)
install(RUNTIME_DEPENDENCY_SET precis_needs
  # The C and C++ libraries are the system's, and the driver's library is that of its machine.
  PRE_EXCLUDE_REGEXES "^(ld-linux.*|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\\+\\+|libcuda)\\.so"
  DIRECTORIES ${PRECIS_TORCH}/lib
  LIBRARY DESTINATION lib/precis)
if(PRECIS_MPI)  # without MPI itself, which is the machine's that ranks run on
  install(TARGETS precis_mpi LIBRARY DESTINATION lib/precis)
endif()
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/precis DESTINATION include)
# The program looks for its model in ../share/precis/models: here that of the sources, there a copy.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/precis)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/models ${CMAKE_BINARY_DIR}/share/precis/models SYMBOLIC)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/models/describe DESTINATION share/precis/models)

include(CMakePackageConfigHelpers)
configure_file(${CMAKE_SOURCE_DIR}/cmake/PrecisConfig.cmake.in ${CMAKE_BINARY_DIR}/PrecisConfig.cmake @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/PrecisConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/PrecisConfig.cmake ${CMAKE_BINARY_DIR}/PrecisConfigVersion.cmake
  DESTINATION lib/cmake/Precis)

# The manual page and the completion are what the program itself tells of its commands.
set(reference ${CMAKE_BINARY_DIR}/reference)
file(MAKE_DIRECTORY ${reference})
add_custom_command(OUTPUT ${reference}/precis.1 COMMAND precis man >${reference}/precis.1 DEPENDS precis)
add_custom_command(OUTPUT ${reference}/precis COMMAND precis completion bash >${reference}/precis DEPENDS precis)
add_custom_target(precis_reference ALL DEPENDS ${reference}/precis.1 ${reference}/precis)
install(FILES ${reference}/precis.1 DESTINATION share/man/man1)
install(FILES ${reference}/precis DESTINATION share/bash-completion/completions)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION share/doc/precis)

# The licences of what lib/precis holds, as the wheel and Debian's packages have them.
file(GLOB torch_licence ${PRECIS_TORCH}/../torch-*.dist-info/licenses/LICENSE)
if(torch_licence)
  install(FILES ${torch_licence} DESTINATION share/doc/precis/licences RENAME libtorch)
endif()
foreach(package libicu libssl libzstd zlib libyaml-cpp libspdlog libfmt libtcmalloc-minimal)
  file(GLOB licences /usr/share/doc/${package}[0-9]*/copyright)
  foreach(licence IN LISTS licences)
    install(FILES ${licence} DESTINATION share/doc/precis/licences RENAME ${package})
  endforeach()
endforeach()
