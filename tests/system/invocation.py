"""How the gate calls these tests: TEST PATH_OF_FATHOM [--sanitised] [unittest options]."""
import pathlib
import sys


def program_under_test(usage):
    """Takes the path of the program, absolute, out of sys.argv, and whether it is sanitised; the rest is unittest's."""
    if len(sys.argv) < 2:
        sys.exit(usage)
    program = str(pathlib.Path(sys.argv.pop(1)).resolve())
    is_sanitised = "--sanitised" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--sanitised"]
    return program, is_sanitised
