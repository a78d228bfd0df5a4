# SPDX-License-Identifier: Apache-2.0
# Writes the commit of SOURCE to OUTPUT, if it is not there already: cmake -D GIT= -D SOURCE= -D OUTPUT= -P.
set(commit "")
if(GIT)
  execute_process(COMMAND ${GIT} describe --always --dirty --abbrev=12 --exclude=*
    WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
#pragma once
inline constexpr const char* kCommit = "@commit@";
]] @ONLY)
