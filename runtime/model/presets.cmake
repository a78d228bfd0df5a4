# SPDX-License-Identifier: Apache-2.0
# Puts presets/*.textproto into one C++ string, so that the program needs no data files. Run as a
# script: cmake -D OUTPUT=FILE.cpp -D PRESETS=DIRECTORY -D HEADER=FILE.hpp -D FUNCTION=NAME -P presets.cmake
# One string and no array of pointers: it lies in read-only memory as it is.
file(GLOB presets ${PRESETS}/*.textproto)
list(SORT presets)
set(text "")
foreach(preset IN LISTS presets)
  file(READ ${preset} content)
  if(content MATCHES "\\)textproto\"")
    message(FATAL_ERROR "${preset}: contains the end mark of the raw string")
  endif()
  string(APPEND text "    R\"textproto(${content})textproto\" \"\\f\"\n")
endforeach()
file(WRITE ${OUTPUT} "// Generated from presets/*.textproto by presets.cmake.
#include \"${HEADER}\"

namespace switchyard::runtime {
std::string_view ${FUNCTION}() {
  return
${text}      ;
}
}  // namespace switchyard::runtime
")
