#!/usr/bin/env python3
"""Fathom as another project uses it: installed, found by CMake, included, linked and run.

usage: install_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from invocation import deadline, program_under_test

FATHOM = pathlib.Path()
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "tests/data/golden/checkpoints/flash-tiny"


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            timeout=deadline(240), check=False)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.build = FATHOM.parent.parent
        cls.prefix = cls.dir / "prefix"
        run("cmake", "--install", cls.build, "--prefix", cls.prefix)

    def cached(self, name):
        (value,) = re.findall(rf"^{name}:\w+=(.*)$", (self.build / "CMakeCache.txt").read_text(), re.M)
        return value

    def test_a_project_finds_builds_and_runs_against_it(self):
        # Moved, because a package must not remember where it was installed.
        moved = self.dir / "moved"
        shutil.copytree(self.prefix, moved)
        run("cmake", "-G", "Ninja", "-S", ROOT / "tests/system/consumer", "-B", self.dir / "build",
            f"-DCMAKE_PREFIX_PATH={moved}", *(f"-D{name}={self.cached(name)}" for name in (
                "CMAKE_CXX_COMPILER", "CMAKE_CXX_FLAGS", "CMAKE_EXE_LINKER_FLAGS")))
        run("ninja", "-C", self.dir / "build")
        tokens = [int(line) for line in run(self.dir / "build/consumer", MODEL).split()]
        expected = json.loads(run(moved / "bin/fathom", "generate", MODEL, "--tokens", "1,2,3",
                                  "--max-tokens", 5, "--json"))["tokens"]
        self.assertEqual(tokens, expected)
        self.assertEqual(len(tokens), 5)

    def test_only_headers_that_the_door_reaches_are_installed(self):
        headers = {str(path.relative_to(self.prefix / "include")) for path in self.prefix.rglob("*.h")}
        self.assertIn("fathom/fathom.h", headers)
        self.assertIn("fathom/base/core/error.h", headers)
        self.assertFalse([header for header in headers if header.startswith("fathom/model/")])

    def test_nothing_names_the_folder_of_the_build(self):
        for path in self.prefix.rglob("*.cmake"):
            self.assertNotIn(str(ROOT), path.read_text(), path)


if __name__ == "__main__":
    FATHOM = pathlib.Path(program_under_test(__doc__))
    unittest.main()
