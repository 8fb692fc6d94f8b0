"""The check reads pipes and streams but no devices, and reports to any terminal, file or pipe."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from check_process import MAIN, SOURCE, start

from shim.configs import fix


def test_standard_input_is_checked_and_mended_to_standard_output() -> None:
    checked = start("-", "--format", "yaml", input="weight_decay: null\n")
    fixed = start("-", "--format", "yaml", "--fix", "--value", "0", input="weight_decay: null # c\n")
    clean = start("-", "--format", "json", "--fix", "--value", "0", input="{}")

    assert (checked.returncode, checked.stdout[:8]) == (1, "-:1:15: ")
    assert (fixed.returncode, fixed.stdout) == (0, "weight_decay: 0.0 # c\n")
    assert "-:1:15" in fixed.stderr
    assert (clean.returncode, clean.stdout) == (0, "{}")


def test_the_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index}.json").write_text("{}")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", MAIN, str(tmp_path)], env={**os.environ, "PYTHONPATH": SOURCE}, stderr=theirs
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert done.returncode == 0
    assert "checking 1 of 30" in shown
    assert shown.rstrip().endswith("30 files checked, 0 findings")


def test_a_name_that_the_terminal_cannot_show_is_no_crash(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.json"
    Path(os.fsdecode(name)).write_bytes(b'{"weight_decay": null}')

    done = start(str(tmp_path), env={"PYTHONIOENCODING": "ascii"})

    assert done.returncode == 1
    assert "weight_decay is null" in done.stdout


def test_control_characters_in_keys_and_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2Jb.yaml").write_text('"\\e[1A\\n\\u202e": {lr: 1, weight_decay: null}\n')

    done = start(str(tmp_path), timeout=20)

    assert r"a\x1b[2Jb.yaml:1:" in done.stdout
    assert r"\x1b[1A\n\u202e.weight_decay is null" in done.stdout


def test_a_non_blocking_pipe_is_read_to_its_end() -> None:
    code = f"import os\nos.set_blocking(0, False)\n{MAIN}"
    slow = "import time\nfor part in ('weight_decay: ', 'null'):\n  time.sleep(0.3)\n  print(part, end='', flush=True)"
    writer = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE)

    done = start("-", "--format", "yaml", code=code, stdin=writer.stdout, timeout=20)

    writer.communicate()
    assert (done.returncode, done.stdout.partition(" is ")[0]) == (1, "-:1:15: weight_decay")


def test_a_file_without_data_at_the_moment_is_an_error() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb") as file, pytest.raises(fix.UnreadableError, match="without waiting"):
        fix.read_all(file, waits=False)
    os.close(writer)


def strange(folder: Path) -> dict[Path, str]:
    """Make special files with the names of configs; return each with its message."""
    os.mkfifo(folder / "pipe.yaml")
    (folder / "link.yaml").symlink_to("pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "big.json").write_bytes(b'{"weight_decay": null, "a": "')
    os.truncate(folder / "big.json", fix.MOST_BYTES + 1)
    (folder / "big.py").write_text("weight_decay = None\n" + "# a Python file takes its size many times\n" * 26_000)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.yaml"))
    (folder / ".#lock.yaml").symlink_to("somebody@somewhere")  # a lock file, as editors make it
    return {
        folder / ".#lock.yaml": "No such file",
        folder / "pipe.yaml": "a pipe, not a file",
        folder / "link.yaml": "a pipe, not a file",
        folder / "zero.yaml": "a device, not a file",
        folder / "big.json": "larger than 10 MB",
        folder / "big.py": "larger than 1 MB",
        folder / "s.yaml": "a socket, not a file",
    }


def test_a_special_file_is_an_error_if_it_is_named_and_skipped_in_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    found = strange(Path("."))
    (tmp_path / "a.yaml").write_text("optimizer: {weight_decay: null}\n")

    for path, says in found.items():
        done = start(str(path), timeout=20)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{path}:1:1: error: {says}" in done.stderr

    met = start(".", "--fix", "--value", "0", timeout=20)
    assert met.returncode == 0
    assert len(re.findall(r": skipped: ", met.stderr)) == len(found)
    assert met.stderr.endswith("1 file checked, 1 finding, 7 skipped, 1 fixed\n")


def test_pipes_and_process_substitutions_of_the_shell_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("optimizer: {weight_decay: null}\n")
    python = f'{sys.executable} -c "$CODE"'
    for command in (
        f"{python} --format yaml <(cat a.yaml)",
        f"cat a.yaml | {python} --format yaml /dev/stdin",
        f"{python} --format yaml /dev/stdin < a.yaml",
        f"{python} --format yaml - < a.yaml",
        f"{python} --format yaml /dev/fd/5 5< a.yaml",
        f"{python} --format yaml /proc/self/fd/0 < a.yaml",
    ):
        done = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, "PYTHONPATH": SOURCE, "CODE": MAIN},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 1, (command, done.stderr)
        assert ":1:27: optimizer.weight_decay is null" in done.stdout, command

    fixed = start("/dev/stdin", "--format", "yaml", "--fix", "--value", "0", input="weight_decay: null")
    assert fixed.returncode == 2
    assert "left as it is: it is a stream; with - as the path" in fixed.stderr


def test_a_stream_without_end_is_not_read_to_its_end() -> None:
    with open("/dev/zero", "rb") as zero:
        for name in ("-", "/dev/stdin"):
            done = subprocess.run(
                [sys.executable, "-c", MAIN, name, "--format", "yaml"],
                env={**os.environ, "PYTHONPATH": SOURCE},
                stdin=zero,
                capture_output=True,
                text=True,
                timeout=20,
            )
            assert done.returncode == 2
            assert "larger than 10 MB" in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--json"], ["--quiet"], ["--diff", "--value", "0"], ["--fix", "--value", "0"], ["--help"]]
)
@pytest.mark.parametrize("where", [">/dev/full", ">&-", "| true"])
def test_a_report_that_cannot_be_written_is_an_error_of_one_line(
    arguments: list[str], where: str, configs: Path
) -> None:
    for index in range(50):
        (configs / f"{index}.json").write_text('{"weight_decay": null}')
    command = f'{sys.executable} -c "$CODE" "$@" {where}'

    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, "sh", str(configs), *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE, "CODE": MAIN},
        capture_output=True,
        text=True,
    )

    told = [line for line in done.stderr.splitlines() if line.startswith("shim check: ")]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if where != "| true" and arguments != ["--help"]:
        assert (done.returncode, len(told)) == (2, 1), done.stderr
        assert re.search(r"No space left|closed", told[0])


def test_the_report_goes_to_a_terminal_that_knows_ascii_only(tmp_path: Path) -> None:
    (tmp_path / "é.yaml").write_text("optimizer:\n  é: {weight_decay: 'né'}\n  weight_decay: null # 𝄞\n")
    (tmp_path / "b.yaml").write_text("é: [weight_decay\n")
    for arguments in ([], ["--json"], ["--diff", "--value", "0"], ["--fix", "--value", "0"]):
        done = start(str(tmp_path), *arguments, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert (done.stdout + done.stderr).isascii()
