"""A hint that cannot be made or printed does not change how the program ends."""

from __future__ import annotations

import re
import shutil
import sys

import pytest
from hint_programs import DIES, said

#: What a program may have done to its stderr before it dies.
STREAMS = {
    "closed": "sys.stderr.close()",
    "none": "sys.stderr = None",
    "deleted": "del sys.stderr",
    "raises": "sys.stderr = type('S', (), {'write': lambda self, text: 1 / 0, 'flush': lambda self: None})()",
    "exits": "sys.stderr = type('S', (), {'write': lambda self, text: sys.exit(9), 'flush': lambda self: None})()",
    "kept in memory": "import io; sys.stderr = io.StringIO()",
    "full": "sys.stderr = open('/dev/full', 'w')",
    "not in this encoding": "sys.stderr = open(sys.stderr.fileno(), 'w', encoding='ascii', closefd=False)",
}


@pytest.fixture
def copy(tmp_path, checkout):
    """Copy the checkout, so that the test can break files of the copy."""
    copy = tmp_path / "copy"
    shutil.copytree(str(checkout / "src"), str(copy / "src"), ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(str(checkout / "sitecustomize.py"), str(copy))
    return copy


class TestBrokenStreamsAndFiles:
    @pytest.mark.parametrize("stream", STREAMS)
    def test_an_unusable_stderr_changes_nothing(self, python, script, stream):
        script.write_text(f"import sys\n{STREAMS[stream]}\n{DIES}")
        plain, ours = python([script], door=None), python([script])
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
        before, after = (re.sub("0x[0-9a-f]+", "", process.stderr) for process in (plain, ours))
        assert after.startswith(before) and (after == before or stream == "not in this encoding")

    @pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-", "2>&1 | head -c 10"])
    def test_a_redirected_stderr_changes_nothing(self, python, script, redirection):
        command = ["-c", f'{sys.executable} {script} {redirection}; echo "code $?"']
        plain, ours = (python(command, executable="/bin/sh", door=door) for door in (None, "sitecustomize"))
        assert (ours.stdout, ours.stderr) == (plain.stdout, plain.stderr)

    @pytest.mark.parametrize(
        "file, text",
        [
            ("rows/moved.py", "raise SystemExit(7)\nfrom __future__ import annotations"),
            ("rows/moved.py", "raise SystemExit(7)"),
            ("rows/moved.py", "raise MemoryError"),
            ("rows/moved.py", "raise KeyboardInterrupt"),
            ("rows/moved.py", "from .row import advice\nadvice('one', 'a reason', r'(No module named', works='<1.5')"),
            ("explain.py", "import no_such_module"),
        ],
        ids=["syntax", "exit", "memory", "ctrl-c", "regular expression", "explain"],
    )
    def test_a_table_that_cannot_be_loaded_changes_nothing(self, python, script, copy, file, text):
        (copy / "src" / "shim" / file).write_text(text + "\n")
        died = python([script], env={"PYTHONPATH": str(copy)})
        assert (died.returncode, died.stdout) == (1, "")
        assert re.match("Traceback", died.stderr) and re.search(r"\nAttributeError: .*\n\Z", died.stderr)

    def test_an_intact_copy_of_the_checkout_prints_the_hint(self, python, script, copy):
        assert len(said(python([script], env={"PYTHONPATH": str(copy)}))) == 1
