"""Python in a process of its own, and scripts as if they had one."""

import contextlib
import io
import os
import runpy
import subprocess
import sys


def start(code, *arguments, **options):
    """A process that runs code; its output is buffered as a user's is."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": buffered}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **{**usual, **options})


def finish(process):
    """Status, output and error output at its end."""
    printed = process.communicate(timeout=120)
    return process.returncode, *printed


def run_here(path, *arguments):
    """What a script prints, run from its file in this process: a process of its own takes seconds to load."""
    printed, before = io.StringIO(), (sys.argv, sys.path[:])
    sys.argv, sys.path[:0] = [str(path), *map(str, arguments)], [str(path.parent)]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
            sys.modules["matplotlib"].rcdefaults()
    return printed.getvalue()
