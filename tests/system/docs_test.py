#!/usr/bin/env python3
"""Runs the commands of README.md, docs/ and models/: every line of a fenced `sh` block, in the order of the page.

usage: docs_test.py PATH_OF_FATHOM [--sanitised] [unittest options]

Lines that begin with build/release/bin/fathom run as they stand, with the program under test and a
temporary folder for /tmp, beside models/. Scripts of the repository are not run (the gate does, or is one); they must exist,
be executable and parse. Any other command fails the test, so that none stays unchecked.
"""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

from invocation import IS_SANITISED, deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = "build/release/bin/fathom"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "models").glob("*/README.md"))]
BUILD_TOOLS = ("cmake", "ctest", "ninja")  # presets are the gate's own


def commands(page):
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield line


def script_error(words):
    """Why a command is none of the repository's scripts; empty if it is one."""
    script = ROOT / words[0]
    if not script.is_file() or not os.access(script, os.X_OK):
        return f"{words[0]} is no script of the repository"
    if script.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/bash")):
        return subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False).stderr
    return ""


class DocsTest(unittest.TestCase):
    def test_every_command_works(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fathom-docs-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "models").symlink_to(ROOT / "models")
        num_run = 0
        for page in PAGES:
            if IS_SANITISED and page.name == "training.md":
                continue  # train_test.py trains sanitised, in minutes
            for line in commands(page):
                with self.subTest(page=page.name, command=line):
                    words = shlex.split(line, comments=True)
                    if words[0] in BUILD_TOOLS:
                        continue
                    if words[0] != PROGRAM:
                        self.assertEqual(script_error(words), "")
                        continue
                    num_run += 1
                    text = line.replace("/tmp/", f"{folder}/").replace(PROGRAM, shlex.quote(FATHOM))
                    result = subprocess.run(["bash", "-c", text], cwd=folder, stdin=subprocess.DEVNULL,
                                            capture_output=True, text=True, check=False,
                                            timeout=deadline(120))
                    self.assertEqual(result.returncode, 0, result.stderr)
                    self.assertNotEqual(result.stdout + result.stderr, "")
        self.assertGreaterEqual(num_run, 4)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
