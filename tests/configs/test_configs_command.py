"""The command line of the check: exit codes, reports, and required packages."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from check_process import MAIN, start

from shim.configs.command import check_before_run, main


def test_a_clean_directory_is_0_and_findings_are_1(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(configs / "good.yaml")]) == 0
    assert capsys.readouterr().out == ""

    assert main([str(configs)]) == 1
    seen = capsys.readouterr()
    assert seen.out.startswith(f"{configs / 'bad.json'}:1:18: weight_decay is null [optimizer settings]: ")
    assert "--fix --value V" in seen.out
    assert seen.err == "2 files checked, 1 finding\n"


def test_a_file_that_cannot_be_parsed_is_2_and_the_others_are_still_checked(
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


@pytest.mark.parametrize("name", ["none.yaml", "no_suffix"])
def test_a_missing_file_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([str(tmp_path / name)]) == 2
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
    assert seen.out.endswith("; fixed\n")
    assert seen.err == "2 files checked, 1 finding, 1 fixed\n"

    assert main([str(configs)]) == 0


def test_findings_that_a_fix_leaves_are_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("o: {lr: 1, weight_decay: high}\nweight_decay: null\n")

    assert main([str(tmp_path), "--fix", "--value", "0"]) == 1

    assert "cannot be fixed: the intended number is not known" in capsys.readouterr().out
    assert (tmp_path / "a.yaml").read_text() == "o: {lr: 1, weight_decay: high}\nweight_decay: 0.0\n"


def test_diff_shows_the_change_and_makes_none(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(configs), "--diff", "--fix", "--value", "0"]) == 1

    seen = capsys.readouterr()
    name = configs / "bad.json"
    patch = f'--- {name}\n+++ {name}\n@@ -1 +1 @@\n-{{"weight_decay": null}}\n+{{"weight_decay": 0.0}}\n'
    assert seen.out == patch
    assert "would be fixed" in seen.err
    assert (configs / "bad.json").read_text() == '{"weight_decay": null}\n'


def test_json_holds_everything(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configs / "broken.json").write_text('{"weight_decay": ')

    assert main([str(configs), "--json"]) == 2

    data = json.loads(capsys.readouterr().out)
    assert data["files"] == 3
    (finding,) = data["findings"]
    assert finding["file"].endswith("bad.json")
    assert (finding["line"], finding["column"], finding["path"]) == (1, 18, "weight_decay")
    assert (finding["level"], finding["found"], finding["fixable"], finding["fixed"]) == (
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


def test_the_check_before_a_run_reports_and_mends(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(configs / "bad.json")
    assert check_before_run([path]) == 1
    assert "weight_decay is null" in capsys.readouterr().err

    with pytest.raises(ValueError, match=r"0\.01"):
        check_before_run([path], fix=True)
    assert check_before_run([path], fix=True, value=0.0) == 0
    assert check_before_run([path]) == 0
    assert check_before_run([str(configs / "none.yaml")]) == 2


UNPARSED: dict[str, str] = {
    "tsconfig.json": '{ // comments\n "compilerOptions": {"strict": true}}',
    "lines.json": '{"a": 1}\n{"a": 2}\n',
    "jinja.yaml": "{% set x = 1 %}\na: {{ x }}\n",
    "old.py": "print 'optimizer'\n",
    "mojibake.yaml": "optimizer: \udce9\n",
    "broken.toml": "[optimizer\n",
}


@pytest.mark.parametrize("name", UNPARSED)
def test_a_file_that_cannot_be_parsed_and_does_not_mention_weight_decay_is_no_error(
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
def test_a_check_of_zero_files_says_so(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("")

    assert main([*options, str(tmp_path)]) == 0

    assert f"0 files checked: no .yaml .yml .json .jsonc .toml .py in {tmp_path}" in capsys.readouterr().err
    assert check_before_run([str(tmp_path)]) == 0
    assert "0 files checked" in capsys.readouterr().err


def test_a_large_python_file_without_an_optimizer_is_no_config_and_no_error(tmp_path: Path) -> None:
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
