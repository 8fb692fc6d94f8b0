"""The command line: exit codes, reports, standard input, and what it needs."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import shim
from shim.configs import fix
from shim.configs.command import check_before_run, main

SOURCE = str(Path(shim.__file__).parents[1])
MAIN = "import sys; from shim.configs.command import main; sys.exit(main(sys.argv[1:]))"


def start(*arguments: str, code: str = MAIN, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, **options
    )


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text("optimizer: {weight_decay: 0.1}\n")
    (tmp_path / "bad.json").write_text('{"weight_decay": null}\n')
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.yaml").write_text("weight_decay: null\n")
    (tmp_path / "notes.txt").write_text("weight_decay: null\n")
    return tmp_path


def test_a_clean_directory_is_0_and_findings_are_1(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(configs / "good.yaml")]) == 0
    assert capsys.readouterr().out == ""

    assert main([str(configs)]) == 1
    seen = capsys.readouterr()
    assert seen.out.startswith(f"{configs / 'bad.json'}:1:18: weight_decay is null [optimizer settings]: ")
    assert "--fix --value V" in seen.out
    assert seen.err == "2 files checked, 1 finding\n"


def test_what_cannot_be_parsed_is_2_and_the_others_are_still_checked(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (configs / "a.yaml").write_text("weight_decay: 1\nb: [1\n")

    assert main([str(configs)]) == 2

    seen = capsys.readouterr()
    assert re.search(r"a\.yaml:\d:\d+: error: .*expected", seen.err)
    assert "bad.json:1:18" in seen.out


@pytest.mark.parametrize(
    ("name", "text", "line", "says"),
    [
        ("a.json", '{\n "weight_decay": 1,\n}', 3, "jsonc"),
        ("a.json", "{} // weight decay", 1, "jsonc"),
        ("a.toml", "weight_decay = 1\nb =\n", 2, ""),
        ("a.py", "weight_decay = 1\nb = (\n", 2, ""),
        ("a.yaml", b"weight_decay: \xff", 1, "byte 14"),
        ("a.yaml", "weight_decay: *b", 1, "undefined alias"),
        ("a.txt", "a", 1, "--format"),
    ],
)
def test_an_error_has_its_position_and_the_parsers_words(
    name: str, text: Any, line: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert main([str(path)]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"{path}:{line}:")
    assert says in error


def test_a_file_that_is_not_there_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.yaml")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fix"], "AdamW's own default is 0.01"),
        (["--diff"], "AdamW's own default is 0.01"),
        (["--value", "0"], "--fix"),
        (["--fix", "--value", "much"], "'much' is not a weight decay"),
        (["--fix", "--value", "nan"], "'nan' is not a weight decay"),
        (["--fix", "--value=-1"], "'-1' is not a weight decay"),
        (["-"], "--format"),
    ],
)
def test_a_usage_error_is_2_and_says_why(
    arguments: list[str], says: str, configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, str(configs / "bad.json")]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert (configs / "bad.json").read_text() == '{"weight_decay": null}\n'


def test_fix_mends_and_is_then_clean(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(configs), "--fix", "--value", "0.01"]) == 0
    seen = capsys.readouterr()
    assert (configs / "bad.json").read_text() == '{"weight_decay": 0.01}\n'
    assert seen.out.endswith("; mended\n")
    assert seen.err == "2 files checked, 1 finding, 1 mended\n"

    assert main([str(configs)]) == 0


def test_what_remains_after_a_fix_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("o: {lr: 1, weight_decay: high}\nweight_decay: null\n")

    assert main([str(tmp_path), "--fix", "--value", "0"]) == 1

    assert "cannot be mended: what number was meant is not known" in capsys.readouterr().out
    assert (tmp_path / "a.yaml").read_text() == "o: {lr: 1, weight_decay: high}\nweight_decay: 0.0\n"


def test_diff_shows_the_change_and_makes_none(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(configs), "--diff", "--fix", "--value", "0"]) == 1

    seen = capsys.readouterr()
    name = configs / "bad.json"
    patch = f'--- {name}\n+++ {name}\n@@ -1 +1 @@\n-{{"weight_decay": null}}\n+{{"weight_decay": 0.0}}\n'
    assert seen.out == patch
    assert "would be mended" in seen.err
    assert (configs / "bad.json").read_text() == '{"weight_decay": null}\n'


def test_json_holds_everything(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configs / "broken.json").write_text('{"weight_decay": ')

    assert main([str(configs), "--json"]) == 2

    data = json.loads(capsys.readouterr().out)
    assert data["files"] == 3
    (finding,) = data["findings"]
    assert finding["file"].endswith("bad.json")
    assert (finding["line"], finding["column"], finding["path"]) == (1, 18, "weight_decay")
    assert (finding["level"], finding["found"], finding["mendable"], finding["mended"]) == (
        "finding",
        "null",
        True,
        False,
    )
    (error,) = data["errors"]
    assert error["file"].endswith("broken.json")


def test_quiet_leaves_out_notes_and_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("weight_decay_schedule: null\n")
    main([str(tmp_path)])
    assert "note: weight_decay_schedule" in capsys.readouterr().out

    assert main([str(tmp_path), "--quiet"]) == 0

    assert capsys.readouterr() == ("", "")


def test_standard_input_is_checked_and_mended_to_standard_output() -> None:
    checked = start("-", "--format", "yaml", input="weight_decay: null\n")
    mended = start("-", "--format", "yaml", "--fix", "--value", "0", input="weight_decay: null # c\n")
    clean = start("-", "--format", "json", "--fix", "--value", "0", input="{}")

    assert (checked.returncode, checked.stdout[:8]) == (1, "-:1:15: ")
    assert (mended.returncode, mended.stdout) == (0, "weight_decay: 0.0 # c\n")
    assert "-:1:15" in mended.stderr
    assert (clean.returncode, clean.stdout) == (0, "{}")


def test_a_missing_parser_is_named_and_the_other_formats_go_on(configs: Path) -> None:
    code = "import sys; sys.modules['yaml'] = None\n" + MAIN

    done = start(str(configs), code=code)

    assert done.returncode == 2
    assert "reading YAML needs PyYAML" in done.stderr
    assert "pip install 'torch-shim[config]'" in done.stderr
    assert "bad.json:1:18" in done.stdout


def test_neither_torch_nor_a_config_is_executed(configs: Path) -> None:
    marker = configs / "executed"
    (configs / "evil.py").write_text(f"open({str(marker)!r}, 'w')\noptimizer = dict(type='SGD', weight_decay=None)\n")
    (configs / "evil.yaml").write_text("a: !!python/object/apply:os.mkdir [executed]\nweight_decay: null\n")
    code = MAIN.replace("sys.exit(", "code = (") + "; sys.exit(99 if 'torch' in sys.modules else code)"

    done = start(str(configs), "--fix", "--value", "0", code=code, cwd=str(configs))

    assert done.returncode == 0, done.stderr
    assert "evil.py:2:43" in done.stdout
    assert not marker.exists()


def test_a_terminal_sees_the_progress(tmp_path: Path) -> None:
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


def test_the_check_before_a_run_reports_and_mends(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(configs / "bad.json")
    assert check_before_run([path]) == 1
    assert "weight_decay is null" in capsys.readouterr().err

    with pytest.raises(ValueError, match=r"0\.01"):
        check_before_run([path], fix=True)
    assert check_before_run([path], fix=True, value=0.0) == 0
    assert check_before_run([path]) == 0
    assert check_before_run([str(configs / "none.yaml")]) == 2


def test_a_name_that_the_terminal_cannot_show_is_no_crash(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.json"
    Path(os.fsdecode(name)).write_bytes(b'{"weight_decay": null}')

    done = start(str(tmp_path), env={"PYTHONIOENCODING": "ascii"})

    assert done.returncode == 1
    assert "weight_decay is null" in done.stdout


UNPARSED: dict[str, str] = {
    "tsconfig.json": '{ // comments\n "compilerOptions": {"strict": true}}',
    "lines.json": '{"a": 1}\n{"a": 2}\n',
    "jinja.yaml": "{% set x = 1 %}\na: {{ x }}\n",
    "old.py": "print 'optimizer'\n",
    "mojibake.yaml": "optimizer: \udce9\n",
    "broken.toml": "[optimizer\n",
}


@pytest.mark.parametrize("name", UNPARSED)
def test_what_cannot_be_parsed_and_does_not_mention_weight_decay_is_no_error(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = UNPARSED[name].encode("utf-8", "surrogateescape")
    (tmp_path / name).write_bytes(raw)

    assert main([str(tmp_path), "--fix", "--value", "0"]) == 0
    assert capsys.readouterr() == ("", "1 file checked, 0 findings\n")

    for mark in (b"weight_decay", b"weight decay", b"Weight-Decay", b"weightDecay"):
        (tmp_path / name).write_bytes(raw + b"\n" + mark)
        code = main([str(tmp_path)])
        shown = capsys.readouterr().err
        assert (code, "skipped: a template" in shown) == ((0, True) if "jinja" in name else (2, False)), shown


def test_a_template_with_a_weight_decay_is_skipped_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("optimizer: {lr: ~{base_lr}, weight_decay: ~{base_lr * 10}}\n")

    assert main([str(path)]) == 0

    seen = capsys.readouterr()
    assert seen.out == ""
    assert f"{path}: skipped: a template" in seen.err
    assert seen.err.endswith("0 files checked, 0 findings, 1 skipped\n")


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"], ["--fix", "--value", "0"]])
def test_zero_files_are_said(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("")

    assert main([*options, str(tmp_path)]) == 0

    assert f"0 files checked: no .yaml .yml .json .jsonc .toml .py in {tmp_path}" in capsys.readouterr().err
    assert check_before_run([str(tmp_path)]) == 0
    assert "0 files checked" in capsys.readouterr().err


def test_a_large_python_file_that_speaks_of_no_optimizer_is_no_config_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("table = [\n" + '    "\\n",\n' * 200_000 + "]\n")

    done = start(str(tmp_path), timeout=20)

    assert (done.returncode, done.stderr) == (0, "1 file checked, 0 findings\n")


def test_a_directory_that_cannot_be_listed_is_an_error_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.yaml").write_text("optimizer: {weight_decay: null}\n")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert main([str(tmp_path)]) == 2

    said = capsys.readouterr()
    assert f"{tmp_path / 'closed'}:1:1: error: Permission denied" in said.err
    assert "optimizer.weight_decay is null" in said.out


def test_what_a_key_or_a_name_holds_cannot_move_the_cursor(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[2Jb.yaml").write_text('"\\e[1A\\n\\u202e": {lr: 1, weight_decay: null}\n')

    done = start(str(tmp_path), timeout=20)

    assert r"a\x1b[2Jb.yaml:1:" in done.stdout
    assert r"\x1b[1A\n\u202e.weight_decay is null" in done.stdout


def test_a_pipe_that_does_not_block_is_read_to_its_end() -> None:
    code = f"import os\nos.set_blocking(0, False)\n{MAIN}"
    slow = "import time\nfor part in ('weight_decay: ', 'null'):\n  time.sleep(0.3)\n  print(part, end='', flush=True)"
    writer = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE)

    done = start("-", "--format", "yaml", code=code, stdin=writer.stdout, timeout=20)

    writer.communicate()
    assert (done.returncode, done.stdout.partition(" is ")[0]) == (1, "-:1:15: weight_decay")


def test_a_file_that_gives_nothing_now_is_none() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb") as file, pytest.raises(fix.UnreadableError, match="without waiting"):
        fix.read_all(file, waits=False)
    os.close(writer)


def strange(folder: Path) -> dict[Path, str]:
    """Make files that look like a config and are not; return each with its message."""
    os.mkfifo(folder / "pipe.yaml")
    (folder / "link.yaml").symlink_to("pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "big.json").write_bytes(b'{"weight_decay": null, "a": "')
    os.truncate(folder / "big.json", fix.MOST_BYTES + 1)
    (folder / "big.py").write_text("weight_decay = None\n" + "# a Python file takes its size many times\n" * 26_000)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.yaml"))
    (folder / ".#lock.yaml").symlink_to("somebody@somewhere")  # as editors do
    return {
        folder / ".#lock.yaml": "No such file",
        folder / "pipe.yaml": "a pipe, not a file",
        folder / "link.yaml": "a pipe, not a file",
        folder / "zero.yaml": "a device, not a file",
        folder / "big.json": "larger than 10 MB",
        folder / "big.py": "larger than 1 MB",
        folder / "s.yaml": "a socket, not a file",
    }


def test_what_is_no_file_is_an_error_where_it_is_named_and_skipped_where_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket has little room
    found = strange(Path("."))
    (tmp_path / "a.yaml").write_text("optimizer: {weight_decay: null}\n")

    for path, says in found.items():
        done = start(str(path), timeout=20)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{path}:1:1: error: {says}" in done.stderr

    met = start(".", "--fix", "--value", "0", timeout=20)
    assert met.returncode == 0
    assert len(re.findall(r": skipped: ", met.stderr)) == len(found)
    assert met.stderr.endswith("1 file checked, 1 finding, 7 skipped, 1 mended\n")


def test_streams_of_the_shell_are_read(tmp_path: Path) -> None:
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
def test_a_report_that_cannot_be_written_is_one_line(arguments: list[str], where: str, configs: Path) -> None:
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
