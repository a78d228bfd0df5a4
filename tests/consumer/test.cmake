# SPDX-License-Identifier: Apache-2.0
# Installs BUILD into a new prefix, then configures, builds and runs the consumer against it alone.
# cmake -DBUILD=... -DSOURCE=... -DWORK=... -DGENERATOR=... -DCOMPILER=... -DMPIRUN=... -P test.cmake
function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
step(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
step(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
     -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${WORK}/prefix)
step(${CMAKE_COMMAND} --build ${WORK}/build)
step(${MPIRUN} -n 4 --oversubscribe ${WORK}/build/consumer)
if(NOT output MATCHES "4 ranks in 2 groups, 1000 steps, memory flat")
  message(FATAL_ERROR "consumer: got '${output}', want '4 ranks in 2 groups, 1000 steps, memory flat'")
endif()
step(${WORK}/prefix/bin/switchyard --version)
file(REMOVE_RECURSE ${WORK})
