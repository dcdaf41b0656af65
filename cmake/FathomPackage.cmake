# The Debian package: the program, its service and what to read about it. `cpack --config
# build/release/CPackConfig.cmake` makes fathom_VERSION_ARCH.deb; libraries and headers for programs
# are `cmake --install`'s alone.
install(FILES packaging/fathom.service DESTINATION lib/systemd/system COMPONENT program)
install(FILES README.md NOTICE docs/serving.md packaging/serve.toml
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/fathom COMPONENT program)

# Only the program, built before, goes into the package.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fathom)
set(CPACK_PACKAGE_VENDOR "The Fathom authors")
set(CPACK_PACKAGE_CONTACT "The Fathom authors <fathom@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Runs and serves DeepSeek-V4-class language models")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL program)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
