"""How the gate calls these tests: TEST PATH_OF_FATHOM [--sanitised] [unittest options]."""
import pathlib
import sys

IS_SANITISED = "--sanitised" in sys.argv


def program_under_test(usage):
    """Takes the path of the program, absolute, and --sanitised out of sys.argv; the rest is unittest's."""
    if len(sys.argv) < 2:
        sys.exit(usage)
    program = str(pathlib.Path(sys.argv.pop(1)).resolve())
    sys.argv = [argument for argument in sys.argv if argument != "--sanitised"]
    return program


def deadline(seconds):
    """How long a test waits for the program, in seconds: for a sanitised one four times as long, as ctest does."""
    return 4 * seconds if IS_SANITISED else seconds
