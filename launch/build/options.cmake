# SPDX-License-Identifier: Apache-2.0
# What every target of ours is compiled with: warnings, sanitizers, and no contraction of a * b + c,
# so that a fused multiply-add happens exactly where the source says so.
add_library(switchyard_options INTERFACE)
target_compile_options(switchyard_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wold-style-cast
  -Wnon-virtual-dtor -Woverloaded-virtual -ffp-contract=off)
if(NOT SWITCHYARD_UNITE)  # a neighbour's file is no outer scope
  target_compile_options(switchyard_options INTERFACE -Wshadow)
endif()
# GCC 12 reports "text" + std::string as overlapping copies (its bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(switchyard_options INTERFACE -Wno-restrict)
endif()
if(SWITCHYARD_WERROR)
  target_compile_options(switchyard_options INTERFACE -Werror)
endif()
if(SWITCHYARD_SANITIZE)
  target_compile_options(switchyard_options INTERFACE -fsanitize=${SWITCHYARD_SANITIZE}
    -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(switchyard_options INTERFACE -fsanitize=${SWITCHYARD_SANITIZE})
endif()

# switchyard_precompile(target HEADER ...): what nearly every source of a target reads, read once; a
# third to a half of the time of a build. A compiler cache in front would not see through it.
set(switchyard_common_headers <algorithm> <array> <chrono> <cstdint> <cstring> <filesystem> <functional>
  <map> <memory> <optional> <span> <sstream> <stdexcept> <string> <string_view> <utility> <vector>)
# GCC 12 forgets there that they are the system's, and reports "text" + std::string as a copy out of
# bounds (its bug 105329).
function(switchyard_quiet_headers target)
  target_compile_options(${target} PRIVATE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow> $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>)
endfunction()
function(switchyard_precompile target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} PRIVATE ${switchyard_common_headers} ${ARGN})
    switchyard_quiet_headers(${target})
  endif()
endfunction()

# switchyard_unite(experts APART kernels/ ...): compiles each subfolder of a library as one source, where
# SWITCHYARD_UNITE asks for it. Names in anonymous namespaces must then differ within a subfolder.
# What matches a word of APART is compiled alone, as is what lies in the folder itself.
function(switchyard_unite name)
  cmake_parse_arguments(arg "" "" "APART" ${ARGN})
  if(NOT SWITCHYARD_UNITE)
    return()
  endif()
  list(JOIN arg_APART "|" apart)
  get_target_property(sources switchyard_${name} SOURCES)
  foreach(source ${sources})
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE path)
    cmake_path(GET path PARENT_PATH group)
    if(group AND NOT path MATCHES "${apart}")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
    endif()
  endforeach()
  set_target_properties(switchyard_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # A file that is included may not have classes with members of anonymous types, which these sources may.
  target_compile_options(switchyard_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()

# switchyard_folder(comm ...): the library of one top-level folder, from all its sources but those whose
# path matches what follows EXCEPT.
function(switchyard_folder name)
  cmake_parse_arguments(arg "" "EXCEPT" "" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(arg_EXCEPT)
    list(FILTER sources EXCLUDE REGEX ${arg_EXCEPT})
  endif()
  add_library(switchyard_${name} STATIC ${sources})
  add_library(switchyard::${name} ALIAS switchyard_${name})
  set_target_properties(switchyard_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(switchyard_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/switchyard>)
  target_compile_features(switchyard_${name} PUBLIC cxx_std_20)
  target_link_libraries(switchyard_${name} PRIVATE $<BUILD_INTERFACE:switchyard_options>)
endfunction()

# switchyard_protos(comm /path/comm/wire.proto ...): generated code as a target of its own, without
# our warnings; linked into the folder's library and seen by its .cpp files only, as
# "comm/wire/wire.pb.h". Imports are written from the root as well.
function(switchyard_protos name)
  set(generated)
  foreach(proto ${ARGN})
    cmake_path(RELATIVE_PATH proto BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE stem)
    cmake_path(REMOVE_EXTENSION stem LAST_ONLY)
    set(outputs ${PROJECT_BINARY_DIR}/protos/${stem}.pb.cc ${PROJECT_BINARY_DIR}/protos/${stem}.pb.h)
    add_custom_command(OUTPUT ${outputs}
      COMMAND protobuf::protoc --cpp_out=${PROJECT_BINARY_DIR}/protos -I${PROJECT_SOURCE_DIR} ${proto}
      DEPENDS ${proto} protobuf::protoc COMMENT "Generating ${stem}.pb.cc" VERBATIM)
    list(APPEND generated ${outputs})
  endforeach()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/protos)
  add_library(switchyard_${name}_protos OBJECT ${generated})
  target_include_directories(switchyard_${name}_protos SYSTEM PUBLIC ${PROJECT_BINARY_DIR}/protos
    ${Protobuf_INCLUDE_DIRS})
  if(SWITCHYARD_SANITIZE)
    target_compile_options(switchyard_${name}_protos PRIVATE -fsanitize=${SWITCHYARD_SANITIZE})
  endif()
  target_sources(switchyard_${name} PRIVATE $<TARGET_OBJECTS:switchyard_${name}_protos>)
  target_include_directories(switchyard_${name} SYSTEM PRIVATE ${PROJECT_BINARY_DIR}/protos)
  target_link_libraries(switchyard_${name} PUBLIC protobuf::libprotobuf)
  add_dependencies(switchyard_${name} switchyard_${name}_protos)
endfunction()
