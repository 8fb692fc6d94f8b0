"""Signals, pipes and terminals work the same for a program with and without a door."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios

import pytest

#: Prints that it is ready, and waits in short sleeps: a signal that arrives just before a sleep does not end the sleep.
#: All code is on one line, so that the traceback is the same wherever the signal arrives.
WAITING = (
    "import time; words = iter(['ready\\n'])\nwhile True: print(next(words, ''), end='', flush=True); time.sleep(0.1)"
)


class TestSignals:
    @pytest.fixture
    def end_of(self, doors, tmp_path):
        """Return a function that starts a program through every door, signals it, and returns how each ended."""

        def run(code, number, before=()):
            ends = []
            for words, path in doors(["-c", code], ["-X", "no_debug_ranges"]).values():
                with subprocess.Popen(
                    [*before, *words],
                    env={**os.environ, "PYTHONPATH": path},
                    cwd=str(tmp_path),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    # the tests may run under nohup, which ignores SIGHUP
                    preexec_fn=None if before else lambda: signal.signal(number, signal.SIG_DFL),
                ) as process:
                    try:
                        assert process.stdout.readline() == "ready\n"
                        process.send_signal(number)
                        ends.append((*process.communicate(timeout=60), process.returncode))
                    finally:
                        process.kill()
            return ends

        return run

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_signal_ends_a_program_without_a_handler_the_same(self, end_of, name):
        plain, *through = end_of(WAITING, getattr(signal, name))
        assert plain[2] == -getattr(signal, name)
        assert through == [plain] * len(through)

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_signal_reaches_the_handler_of_a_program(self, end_of, name):
        code = (
            "import signal, sys, time\n"
            f"signal.signal(signal.{name}, lambda number, frame: sys.exit(number + 40))\n"
            "try:\n    print('ready', flush=True)\n    while True: time.sleep(0.1)\n"
            "finally: print('cleaned up')"
        )
        plain, *through = end_of(code, getattr(signal, name))
        assert plain == ("cleaned up\n", "", getattr(signal, name) + 40)
        assert through == [plain] * len(through)

    def test_a_program_started_by_nohup_ignores_sighup(self, end_of):
        code = (
            "import os, signal\n"
            "print('ready', flush=True)\n"
            "signal.sigtimedwait([], 1)\n"
            "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
        )
        plain, *through = end_of(code, signal.SIGHUP, before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
        assert plain == ("True\n", "", 0)
        assert through == [plain] * len(through)


class TestStandardInput:
    def test_a_program_reads_the_same_from_a_pipe(self, same):
        code = "import sys; print(sys.stdin.isatty(), sys.stdin.readline(), list(sys.stdin))"
        assert same(["-c", code], input="one\ntwo\nthree")[1] == "False one\n ['two\\n', 'three']\n"

    @pytest.fixture
    def on_a_terminal(self, doors, tmp_path):
        """Return a function that types into a program started through every door, and returns what each showed."""

        def run(command, typed, options=()):
            shown = []
            for words, path in doors(command, options).values():
                ours, theirs = os.openpty()
                settings = termios.tcgetattr(theirs)
                # With NOFLSH a Ctrl-C does not discard what the program prints at that moment.
                settings[3] = settings[3] & ~termios.ECHO | termios.NOFLSH
                termios.tcsetattr(theirs, termios.TCSANOW, settings)
                process = subprocess.Popen(
                    words,
                    env={**os.environ, "PYTHONPATH": path, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
                    cwd=str(tmp_path),
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
                os.close(theirs)
                text, left = "", list(typed)
                while True:
                    try:
                        text += os.read(ours, 1000).decode()
                    except OSError:  # the last process has closed the terminal
                        break
                    if left and text.endswith(left[0][0]):
                        os.write(ours, left.pop(0)[1].encode())
                os.close(ours)
                shown.append((text, process.wait(300)))
            return shown

        return run

    def test_a_program_has_the_same_terminal(self, on_a_terminal):
        code = (
            "import os, sys\n"
            "print(sys.stdin.isatty(), sys.stdout.line_buffering, os.tcgetpgrp(0) == os.getpgrp() == os.getpid())\n"
            "print(input('name? '))"
        )
        plain, *through = on_a_terminal(["-c", code], [("name? ", "me\n")])
        assert "True True True" in plain[0] and plain[0].endswith("me\r\n")
        assert through == [plain] * len(through)

    def test_control_c_at_a_terminal_ends_the_program_the_same(self, on_a_terminal):
        plain, *through = on_a_terminal(["-c", WAITING], [("ready\r\n", "\x03")], options=["-X", "no_debug_ranges"])
        assert "KeyboardInterrupt" in plain[0] and plain[1] == -signal.SIGINT
        assert through == [plain] * len(through)

    def test_an_interactive_session_after_the_program_works_the_same(self, on_a_terminal):
        typed = [(">>> ", "print(x + 1)\n"), (">>> ", "exit(6)\n")]
        plain, *through = on_a_terminal(["-c", "x = 41"], typed, options=["-i"])
        assert "42" in plain[0] and plain[1] == 6
        assert through == [plain] * len(through)
