# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: the program, the libraries, their headers (no generated code)
# and the package that find_package(switchyard) reads.
include(CMakePackageConfigHelpers)
set(switchyard_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/switchyard)

install(TARGETS switchyard RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET switchyard-sim)
  install(TARGETS switchyard-sim RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS switchyard_comm switchyard_experts switchyard_runtime EXPORT switchyard
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY comm experts runtime DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/switchyard
        FILES_MATCHING PATTERN "*.hpp")
install(EXPORT switchyard NAMESPACE switchyard:: FILE switchyard-targets.cmake
        DESTINATION ${switchyard_package_dir})

configure_package_config_file(launch/build/switchyard-config.cmake.in
  ${PROJECT_BINARY_DIR}/switchyard-config.cmake INSTALL_DESTINATION ${switchyard_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/switchyard-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/switchyard-config.cmake
              ${PROJECT_BINARY_DIR}/switchyard-config-version.cmake
        DESTINATION ${switchyard_package_dir})
install(FILES LICENSE README.md CHANGELOG.md CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
