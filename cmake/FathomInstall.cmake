# Nothing is installed beyond the program: the library is built in place, headers beside sources.
include(GNUInstallDirs)
