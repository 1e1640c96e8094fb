"""Python in a process of its own."""

import os
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
