# fathom_library(<folder> DEPENDS <folders> [LINK <targets>])
#
# One library per room. DEPENDS repeats the room's line in tools/check_layers.py; the gate compares
# the two, so there is one truth. LINK names third-party targets that only .cc files of the room see.
add_library(fathom_warnings INTERFACE)
target_compile_options(fathom_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wdouble-promotion
  $<$<BOOL:${FATHOM_WERROR}>:-Werror>
  -fno-math-errno -fno-trapping-math)

# Headers that most files have, precompiled for trees that ask for it: half the time of compiling a file. Where they are
# not, in the tree that is released, a file that lacks an include does not compile.
set(FATHOM_COMMON_HEADERS
  <algorithm> <array> <atomic> <chrono> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
  <nlohmann/json.hpp>)

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
  if(sources AND FATHOM_PRECOMPILED AND NOT folder MATCHES "^compute/backends")  # which has options of its own
    if(NOT TARGET fathom_common_pch)
      file(WRITE ${CMAKE_BINARY_DIR}/common_pch.cc "// Builds the precompiled headers.\n")
      add_library(fathom_common_pch OBJECT ${CMAKE_BINARY_DIR}/common_pch.cc)
      target_link_libraries(fathom_common_pch PRIVATE fathom_warnings Threads::Threads)
      target_precompile_headers(fathom_common_pch PRIVATE ${FATHOM_COMMON_HEADERS})
    endif()
    target_precompile_headers(${target} REUSE_FROM fathom_common_pch)
  endif()
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
  target_link_libraries(${target} ${scope} ${links} Threads::Threads)
  add_library(fathom::${name} ALIAS ${target})
endfunction()
