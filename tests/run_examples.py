"""Run many small programs after one import of torch, each in its own fork, and print the results.

torchvision and torchaudio are imported before the forks as well, if a program imports them.

Reads a JSON list of [patch, program] pairs from stdin. If a pair names a patch, ``shim.activate`` switches it on in the
fork before the program runs. Prints a JSON list of [exit code, stdout, stderr].
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import traceback

#: Seconds until a hanging program is killed, so that its own test fails.
LIMIT = 300


def run(patch, program, folder):
    """Run one program as a script, and return its exit code."""
    path = os.path.join(folder, "program.py")
    with open(path, "w") as script:
        script.write(program)
    sys.argv = [path]
    try:
        if patch:
            import shim

            shim.activate(patch)
        runpy.run_path(path, run_name="__main__")
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def fork(patch, program):
    """Run one program in a child, and return its exit code and what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, name) for name in ("stdout", "stderr")]
        child = os.fork()
        if not child:
            code = 1
            signal.alarm(LIMIT)
            try:
                for stream, name in zip((1, 2), names):
                    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
                os.chdir(folder)
                code = run(patch, program, folder)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        written = []
        for name in names:
            with open(name, encoding="utf-8", errors="replace") as stream:
                # torch 2.8 to 2.10 print "[Gloo] Rank 0 is connected to ..." to stdout.
                written.append("".join(line for line in stream if not line.startswith("[Gloo]")))
        return [code, *written]


if __name__ == "__main__":
    programs = json.load(sys.stdin)
    for package in ("torch", "torchvision", "torchaudio"):
        if any(f"import {package}" in program or f"from {package}" in program for _, program in programs):
            with contextlib.suppress(ImportError):  # a program that needs it fails
                importlib.import_module(package)

    answer = sys.stdout
    result = [fork(*each) for each in programs]
    json.dump(result, answer)
