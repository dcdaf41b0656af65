# fathom_library(<folder> DEPENDS <folders> [LINK <targets>])
#
# One library per room. DEPENDS repeats the room's line in tools/check_layers.py; the gate compares
# the two, so there is one truth. LINK names third-party targets that only .cc files of the room see.
add_library(fathom_warnings INTERFACE)
target_compile_options(fathom_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wdouble-promotion
  $<$<BOOL:${FATHOM_WERROR}>:-Werror>
  -fno-math-errno -fno-trapping-math)

function(fathom_library folder)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  string(REPLACE "/" "_" name "${folder}")
  set(dir ${PROJECT_SOURCE_DIR}/fathom/${folder})
  file(GLOB headers CONFIGURE_DEPENDS ${dir}/*.h)
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cc)
  set(target fathom_${name})
  set(links)
  foreach(dependency IN LISTS ARG_DEPENDS)
    string(REPLACE "/" "_" dependency_name "${dependency}")
    list(APPEND links fathom::${dependency_name})
  endforeach()
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE fathom_warnings ${ARG_LINK})
    set_property(GLOBAL APPEND PROPERTY FATHOM_ROOM_ARCHIVES ${target}) # for cmake/FathomInstall.cmake
    set_property(GLOBAL APPEND PROPERTY FATHOM_LINKED ${ARG_LINK})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
  target_link_libraries(${target} ${scope} ${links} Threads::Threads)
  add_library(fathom::${name} ALIAS ${target})
endfunction()
