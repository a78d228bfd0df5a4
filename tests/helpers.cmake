# SPDX-License-Identifier: Apache-2.0
# switchyard_add_test(comm/exchange RANKS 1 2 4): builds tests/comm/exchange_test.cpp and registers
# comm.exchange.np1, .np2, .np4 under mpirun. Without RANKS it runs in this process, without MPI, as
# experts.router. LABELS adds labels ("long" keeps a test out of the quick suite); LIBS adds targets.
set(SWITCHYARD_TEST_ENV
  "OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_btl_vader_single_copy_mechanism=none;OPENBLAS_NUM_THREADS=1")

function(switchyard_add_test subject)
  cmake_parse_arguments(arg "" "TIMEOUT" "RANKS;LABELS;LIBS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  string(REPLACE "/" "." name ${subject})
  string(REPLACE "/" "_" target ${subject}_test)
  add_executable(${target} ${PROJECT_SOURCE_DIR}/tests/${subject}_test.cpp)
  set(library switchyard_runtime)
  if(subject MATCHES "^(comm|experts)/")
    set(library switchyard_${CMAKE_MATCH_1})  # sees what its folder sees, and builds no more
  endif()
  target_link_libraries(${target} PRIVATE switchyard_options ${library} GTest::gmock ${arg_LIBS})
  set(level 0)
  if(subject MATCHES "^experts/")
    set(level 1)
  endif()
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O${level}>)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} REUSE_FROM switchyard_test_headers_O${level})
    switchyard_quiet_headers(${target})
  endif()
  target_compile_definitions(${target} PRIVATE
    SWITCHYARD_TEST_DATA="${PROJECT_SOURCE_DIR}/tests" SWITCHYARD_PROGRAM="$<TARGET_FILE:switchyard>")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(NOT arg_RANKS)
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${target})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
      ENVIRONMENT "${SWITCHYARD_TEST_ENV}")
    return()
  endif()
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/mpi_main.cpp)
  foreach(ranks ${arg_RANKS})
    add_test(NAME ${name}.np${ranks} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks}
      ${MPIEXEC_PREFLAGS} $<TARGET_FILE:${target}> ${MPIEXEC_POSTFLAGS})
    set_tests_properties(${name}.np${ranks} PROPERTIES PROCESSORS ${ranks} TIMEOUT ${arg_TIMEOUT}
      LABELS "np${ranks};${arg_LABELS}" ENVIRONMENT "${SWITCHYARD_TEST_ENV}")
  endforeach()
endfunction()
