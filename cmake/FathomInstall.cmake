# Installation: the program, the static libraries, the headers that fathom.h reaches, and the package
# that find_package(fathom) reads. One target for consumers: fathom::fathom.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The header and every header of ours that it includes, transitively.
function(fathom_reachable_headers variable header)
  set(found)
  set(queue ${header})
  while(queue)
    list(POP_FRONT queue file)
    if(file IN_LIST found)
      continue()
    endif()
    list(APPEND found ${file})
    set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${PROJECT_SOURCE_DIR}/${file} lines REGEX "^ *# *include +[\"<]fathom/")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE ".*[\"<](fathom/[^\">]+)[\">].*" "\\1" included "${line}")
      list(APPEND queue ${included})
    endforeach()
  endwhile()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

# What a consumer links besides ours: the LINK of every room, as code that finds it. Sets
# `<prefix>_FIND` and `<prefix>_LINK`.
function(fathom_third_party prefix)
  get_property(targets GLOBAL PROPERTY FATHOM_LINKED)
  list(REMOVE_DUPLICATES targets)
  set(find)
  set(link)
  foreach(target IN LISTS targets)
    if(target MATCHES "^PkgConfig::(.*)$")
      string(APPEND find "pkg_check_modules(FATHOM_${CMAKE_MATCH_1} REQUIRED IMPORTED_TARGET ${${CMAKE_MATCH_1}_MODULE_NAME})\n")
      list(APPEND link PkgConfig::FATHOM_${CMAKE_MATCH_1})
    elseif(target STREQUAL "fmt::fmt")
      string(APPEND find "find_dependency(fmt)\n")
      list(APPEND link ${target})
    elseif(target MATCHES "^OpenSSL::")
      string(APPEND find "find_dependency(OpenSSL)\n")
      list(APPEND link ${target})
    elseif(target STREQUAL "ZLIB::ZLIB")
      string(APPEND find "find_dependency(ZLIB)\n")
      list(APPEND link ${target})
    elseif(NOT target MATCHES "^(nlohmann_json::nlohmann_json|Boost::headers)$") # included by .cc files alone
      message(FATAL_ERROR "cmake/FathomInstall.cmake: a room links ${target}: say here how a consumer finds it")
    endif()
  endforeach()
  set(${prefix}_FIND "${find}" PARENT_SCOPE)
  set(${prefix}_LINK "${link}" PARENT_SCOPE)
endfunction()

fathom_reachable_headers(headers fathom/fathom.h)
fathom_third_party(FATHOM_THIRD_PARTY)

# A room links only rooms before it, so the reverse of their order is one that linkers take.
get_property(rooms GLOBAL PROPERTY FATHOM_ROOM_ARCHIVES)
list(REVERSE rooms)
install(TARGETS fathom_door ${rooms} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(archives)
foreach(room IN ITEMS fathom_door LISTS rooms)
  list(APPEND archives $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/lib${room}.a>)
endforeach()

add_library(fathom_installed INTERFACE)
set_target_properties(fathom_installed PROPERTIES EXPORT_NAME fathom VERIFY_INTERFACE_HEADER_SETS OFF)
target_compile_features(fathom_installed INTERFACE cxx_std_20)
target_sources(fathom_installed INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
target_link_libraries(fathom_installed INTERFACE ${archives} Threads::Threads ${FATHOM_THIRD_PARTY_LINK})
install(TARGETS fathom_installed EXPORT fathom FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fathom)
install(EXPORT fathom NAMESPACE fathom:: FILE fathomTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/fathomConfig.cmake.in ${CMAKE_BINARY_DIR}/fathomConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/fathomConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/fathomConfig.cmake ${CMAKE_BINARY_DIR}/fathomConfigVersion.cmake
  DESTINATION ${package_dir})
