#!/usr/bin/env python3
"""Schemathesis against a server: requests made up from /openapi.json are never answered 5xx, nor unlike it says.

Some thousand requests, valid and broken. The seed is fixed; Schemathesis prints what repeats a failure.
"""
import pathlib
import subprocess
import sys

from steps import arguments

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


def main():
    options = arguments(__doc__)
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "run", options.base_url + "/openapi.json",
               "--header", f"Authorization: Bearer {options.key}", "--seed", "1", "--max-examples", "40",
               "--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--request-timeout", "60",
               "--warnings", "off"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
