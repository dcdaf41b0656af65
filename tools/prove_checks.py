#!/usr/bin/env python3
"""Proves that checks of the gate bite: plants what they must refuse, in a copy, and expects a failure.

usage: tools/prove_checks.py headers    a header that does not compile alone
       tools/prove_checks.py tidy       wrong names, a function too long, a use after move
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOOD_HEADER = "#pragma once\n#include <string>\ninline std::string text() { return {}; }\n"

HEADERS_PROJECT = f"""cmake_minimum_required(VERSION 3.25)
project(planted LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
find_package(Threads REQUIRED)
include({ROOT}/cmake/FathomLibrary.cmake)
fathom_library(base/planted)
"""

TIDY_GOOD = """namespace fathom {
class PageList {
 public:
  int num_pages() const { return num_pages_; }

 private:
  static constexpr int kMostPages = 8;
  int num_pages_ = kMostPages;
};
int count_pages(const PageList& list) { return list.num_pages(); }
}  // namespace fathom
"""
TIDY_BAD = {  # what the finding must name -> a replacement in TIDY_GOOD
    "readability-identifier-naming": [
        ("PageList", "page_list"), ("count_pages", "CountPages"), ("num_pages_", "m_pages"),
        ("kMostPages", "MOST_PAGES"), ("const PageList& list", "const PageList& List"),
        ("list.num_pages()", "list.num_pages() + 0; }\nenum class Kind { FIRST_ONE }; inline int other() { return 0"),
    ],
    "readability-function-size": [
        ("return list.num_pages();", "int sum = 0;\n" + "  sum += list.num_pages();\n" * 80 + "return sum;"),
        ("const PageList& list", "const PageList& list, int a, int b, int c, int d, int e, int f"),
    ],
    "bugprone-use-after-move": [
        ("namespace fathom {", "#include <string>\n#include <utility>\nnamespace fathom {\n"
                               "unsigned long twice(std::string text) { std::string other = std::move(text); "
                               "return other.size() + text.size(); }"),
    ],
}


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return result.returncode == 0, result.stdout + result.stderr


def expect(condition, message, output):
    if not condition:
        sys.exit(f"tools/prove_checks.py: {message}\n{output}")


def prove_headers(folder):
    room = folder / "fathom/base/planted"
    room.mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text(HEADERS_PROJECT)
    (room / "planted.cc").write_text('#include <string>\n#include "fathom/base/planted/planted.h"\n')
    (room / "planted.h").write_text(GOOD_HEADER)
    build = folder / "build"
    expect(*with_message(run("cmake", "-G", "Ninja", "-S", folder, "-B", build), "a project with one room: no build"))
    verify = ("ninja", "-C", build, "all", "all_verify_interface_header_sets")
    expect(*with_message(run(*verify), "a header that compiles alone was refused"))
    (room / "planted.h").write_text(GOOD_HEADER.replace("#include <string>\n", ""))
    succeeded, output = run(*verify)
    expect(not succeeded and "planted.h" in output, "a header without its #include <string> passed", output)
    return 1


def prove_tidy(folder):
    shutil.copy(ROOT / ".clang-tidy", folder)
    source = folder / "planted.cc"

    def lint(text):
        source.write_text(text)
        return run("clang-tidy-19", "--quiet", source, "--", "-std=c++20")

    expect(*with_message(lint(TIDY_GOOD), "a source with the names of the house was refused"))
    count = 0
    for check, replacements in TIDY_BAD.items():
        for old, new in replacements:
            succeeded, output = lint(TIDY_GOOD.replace(old, new))
            expect(not succeeded and check in output, f"{check} let `{new[:60]}` pass", output)
            count += 1
    return count


def with_message(result, message):
    return result[0], message, result[1]


def main():
    proofs = {"headers": prove_headers, "tidy": prove_tidy}
    if len(sys.argv) != 2 or sys.argv[1] not in proofs:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="fathom-prove-") as folder:
        count = proofs[sys.argv[1]](pathlib.Path(folder))
    print(f"{sys.argv[1]}: every planted fault was refused ({count})")


if __name__ == "__main__":
    main()
