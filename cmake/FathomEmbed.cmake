# fathom_embed(<room> <file> <name>)
#
# Compiles the bytes of a file of this repository into a room, where the function
# `std::string_view fathom::embedded::<name>()` returns them; the source that calls it declares it.
# An installed program so needs no file beside it.
function(fathom_embed room file name)
  string(REPLACE "/" "_" target "fathom_${room}")
  set(source ${CMAKE_BINARY_DIR}/embedded/${name}.cc)
  set(script ${PROJECT_SOURCE_DIR}/cmake/WriteEmbedded.cmake)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFILE=${PROJECT_SOURCE_DIR}/${file} -DNAME=${name} -DSOURCE=${source} -P ${script}
    DEPENDS ${PROJECT_SOURCE_DIR}/${file} ${script} VERBATIM)
  target_sources(${target} PRIVATE ${source})
endfunction()

# fathom_embed_files(<room> <name> <file=path[+path...]>...)
#
# The same for many files: `std::span<const std::pair<std::string_view, std::string_view>>
# fathom::embedded::<name>()` lists each as its name and bytes. Paths are absolute; those joined by
# a plus are one file.
function(fathom_embed_files room name)
  string(REPLACE "/" "_" target "fathom_${room}")
  set(source ${CMAKE_BINARY_DIR}/embedded/${name}.cc)
  set(script ${PROJECT_SOURCE_DIR}/cmake/WriteEmbeddedFiles.cmake)
  string(REGEX REPLACE "[^;=]+=" "" paths "${ARGN}")
  string(REPLACE "+" ";" paths "${paths}")
  string(REPLACE ";" "|" files "${ARGN}")
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFILES=${files} -DNAME=${name} -DSOURCE=${source} -P ${script}
    DEPENDS ${paths} ${script} VERBATIM)
  target_sources(${target} PRIVATE ${source})
endfunction()
