# fathom_test(<name> LABEL <label> DEPENDS <rooms> SOURCES <files> [LINK <targets>] [SHARDS <n>] [TIMEOUT <seconds>])
#
# One binary per room (or per contract/golden/system suite), found by glob so that a test file
# cannot be forgotten. The gtest header is precompiled once and reused by every binary. SHARDS: as many
# tests <name>_1, <name>_2, .. have a part of its cases each, to run side by side.
function(fathom_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT;SHARDS" "DEPENDS;SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  set(links)
  foreach(dependency IN LISTS ARG_DEPENDS)
    string(REPLACE "/" "_" dependency_name "${dependency}")
    list(APPEND links fathom::${dependency_name})
  endforeach()
  target_link_libraries(${name} PRIVATE ${links} fathom_warnings ${ARG_LINK} test_support
                        GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE FATHOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             FATHOM_BINARY_DIR="${CMAKE_BINARY_DIR}")
  # Most of a test is run once: to optimise it less saves more than it costs.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(NOT TARGET fathom_gtest_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/gtest_pch.cc "// Builds the precompiled gtest header.\n")
    add_library(fathom_gtest_pch OBJECT ${CMAKE_BINARY_DIR}/gtest_pch.cc)
    target_link_libraries(fathom_gtest_pch PRIVATE fathom_warnings GTest::gtest Threads::Threads)
    target_compile_definitions(fathom_gtest_pch PRIVATE FATHOM_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                               FATHOM_BINARY_DIR="${CMAKE_BINARY_DIR}")
    target_compile_options(fathom_gtest_pch PRIVATE $<$<CONFIG:Release>:-O1>)
    target_precompile_headers(fathom_gtest_pch PRIVATE <gtest/gtest.h>)
    if(FATHOM_PRECOMPILED)
      target_precompile_headers(fathom_gtest_pch PRIVATE ${FATHOM_COMMON_HEADERS})
    endif()
  endif()
  target_precompile_headers(${name} REUSE_FROM fathom_gtest_pch)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${FATHOM_PATIENCE}")
  if(NOT ARG_SHARDS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
    return()
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    math(EXPR shard_idx "${shard} - 1")
    add_test(NAME ${name}_${shard} COMMAND ${name})
    set_tests_properties(${name}_${shard} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT}
                         ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard_idx}")
  endforeach()
endfunction()
