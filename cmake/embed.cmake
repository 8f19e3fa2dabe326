# wfo_embed(<target> <name> <file>...)
# Compiles text files into <target>: `#include "embedded/<name>.h"` declares `wfo::embedded::<name>()`, the files in the
# order given, each with its file name and its text as it stands. A module without sources of its own gets nothing.
function(wfo_embed target name)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    return()
  endif()
  set(dir ${CMAKE_BINARY_DIR}/generated/embedded)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake)
  string(REPLACE ";" "|" files "${ARGN}")
  add_custom_command(
    OUTPUT ${dir}/${name}.cpp ${dir}/${name}.h
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DDIR=${dir} "-DFILES=${files}" -P ${script}
    DEPENDS ${ARGN} ${script}
    VERBATIM)
  target_sources(${target} PRIVATE ${dir}/${name}.cpp ${dir}/${name}.h)
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()
