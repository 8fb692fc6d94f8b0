# ruff: noqa: E501 - each text stands on its line
"""A fix changes only the bytes of the value, or nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fixed_files import fix_file, names, write

from shim.configs import fix
from shim.configs.command import Task, check

pytest.importorskip("resource", reason="these tests are about POSIX files")

FIXED: dict[str, tuple[str, str, str]] = {
    "comment and order": ("a.yaml", "b: 1 # x\nweight_decay: null   # why\na: ~", "b: 1 # x\nweight_decay: 0.0   # why\na: ~"),
    "tilde": ("a.yaml", "weight_decay: ~\n", "weight_decay: 0.0\n"),
    "empty": ("a.yaml", "weight_decay:\nlr: 1\n", "weight_decay: 0.0\nlr: 1\n"),
    "empty, comment": ("a.yaml", "weight_decay:   # c\nlr: 1\n", "weight_decay: 0.0   # c\nlr: 1\n"),
    "empty, last, no line end": ("a.yaml", "weight_decay:", "weight_decay: 0.0"),
    "empty in flow": ("a.yaml", "o: {lr: 1, weight_decay: , b: 1}", "o: {lr: 1, weight_decay: 0.0 , b: 1}"),
    "anchored": ("a.yaml", "weight_decay: &wd null\nx: *wd\n", None),
    "anchor stays": ("a.yaml", "weight_decay: &wd null\noptimizer: {weight_decay: *wd}\n", "weight_decay: &wd 0.0\noptimizer: {weight_decay: *wd}\n"),
    "empty anchor": ("a.yaml", "weight_decay: &wd\noptimizer: {weight_decay: *wd}\n", "weight_decay: &wd 0.0\noptimizer: {weight_decay: *wd}\n"),
    "alias": ("a.yaml", "wd: &wd ~\no:\n  lr: 1\n  weight_decay: *wd\n", "wd: &wd 0.0\no:\n  lr: 1\n  weight_decay: *wd\n"),
    "tag": ("a.yaml", "weight_decay: !!null ''\n", "weight_decay: 0.0\n"),
    "tag alone": ("a.yaml", "weight_decay: !!null\n", "weight_decay: 0.0\n"),
    "anchor and tag": ("a.yaml", "weight_decay: &a !!null null # c\n", "weight_decay: &a 0.0 # c\n"),
    "tag and anchor": ("a.yaml", "weight_decay: !!null &a null\n", None),
    "quoted key": ("a.yaml", "'weight_decay' : \"None\"\n", "'weight_decay' : 0.0\n"),
    "value below": ("a.yaml", "weight_decay:\n  # c\n  null\n", "weight_decay:\n  # c\n  0.0\n"),
    "explicit key": ("a.yaml", "? weight_decay\n: null\n", "? weight_decay\n: 0.0\n"),
    "explicit key, empty": ("a.yaml", "? weight_decay\n:\n", "? weight_decay\n: 0.0\n"),
    "directive": ("a.yaml", "%YAML 1.2\n---\nweight_decay: null\n...\n", "%YAML 1.2\n---\nweight_decay: 0.0\n...\n"),
    "CRLF": ("a.yaml", "weight_decay:\r\nlr: 1\r\n", "weight_decay: 0.0\r\nlr: 1\r\n"),
    "number that YAML 1.1 misreads": ("a.yaml", "weight_decay: 1e-5\n", "weight_decay: 1.0e-05\n"),
    "emoji": ("a.yaml", "é: 𝄞\nweight_decay: null # 𝄞\n", "é: 𝄞\nweight_decay: 0.0 # 𝄞\n"),
    "JSON": ("a.json", '{"weight_decay"\t: null,\n "a": [null]}', '{"weight_decay"\t: 0.0,\n "a": [null]}'),
    "JSON, string": ("a.json", '{"weight_decay": "None"}', '{"weight_decay": 0.0}'),
    "JSON, quoted number": ("a.json", '{"weight_decay": "1e-3"}', '{"weight_decay": 0.001}'),
    "JSON, comments": ("a.jsonc", '{/*a*/"weight_decay":null,//b\n}', '{/*a*/"weight_decay":0.0,//b\n}'),
    "TOML": ("a.toml", "[optimizer] # a\nweight_decay = 'None' # b\n", "[optimizer] # a\nweight_decay = 0.0 # b\n"),
    "TOML, CRLF": ("a.toml", 'weight_decay = ""\r\n[x]\r\n', "weight_decay = 0.0\r\n[x]\r\n"),
    "TOML, dotted": ("a.toml", "a.optimizer.weight_decay='null'", "a.optimizer.weight_decay=0.0"),
    "TOML, inline": ("a.toml", 'optimizer = {lr = 1, weight_decay = "nil"}', "optimizer = {lr = 1, weight_decay = 0.0}"),
    "TOML, tables in an array": (
        "a.toml",
        "[[optimizer]]\nweight_decay = 1\n[[optimizer]]\nweight_decay = 'None'\n",
        "[[optimizer]]\nweight_decay = 1\n[[optimizer]]\nweight_decay = 0.0\n",
    ),
    "Python": (
        "a.py",
        "optimizer = dict(  # é\n    type='AdamW', weight_decay=(None),  # c\n)",
        "optimizer = dict(  # é\n    type='AdamW', weight_decay=(0.0),  # c\n)",
    ),
    "Python, dict": ("a.py", "optimizer = {'é': '𝄞', 'weight_decay': None}", "optimizer = {'é': '𝄞', 'weight_decay': 0.0}"),
    "Python, variable": (
        "a.py",
        "wd = None\noptim_wrapper = dict(optimizer=dict(weight_decay=wd))\n",
        "wd = 0.0\noptim_wrapper = dict(optimizer=dict(weight_decay=wd))\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_a_fix_changes_only_the_value_and_a_second_fix_nothing(name: str, tmp_path: Path) -> None:
    suffix, before, after = FIXED[name]
    path = write(tmp_path / suffix, before)

    result = fix_file(path)
    inode = path.stat().st_ino
    again = fix_file(path)

    assert path.read_bytes().decode() == (before if after is None else after)
    assert bool(result.fixed) == (after is not None)
    assert not again.fixed
    assert not again.error
    assert path.stat().st_ino == inode
    assert names(tmp_path) == [suffix]


ADDED: dict[str, tuple[str, str, str]] = {
    "block": ("a.yaml", "o:\r\n  _target_: torch.optim.AdamW\r\n  lr: 1", "o:\r\n  weight_decay: 0.1\r\n  _target_: torch.optim.AdamW\r\n  lr: 1"),
    "block in a list": ("a.yaml", "o:\n- _target_: torch.optim.SGD\n  lr: 1\n", "o:\n- weight_decay: 0.1\n  _target_: torch.optim.SGD\n  lr: 1\n"),
    "flow": ("a.yaml", "o: { _target_: torch.optim.SGD }", "o: { weight_decay: 0.1, _target_: torch.optim.SGD }"),
    "JSON": (
        "a.json",
        '{"optimizer": {"type": "Adam", "params": {\n\t"lr": 1\n}}}',
        '{"optimizer": {"type": "Adam", "params": {\n\t"weight_decay": 0.1,\n\t"lr": 1\n}}}',
    ),
    "JSON, empty": (
        "a.json",
        '{"optimizer": {"type": "Adam", "params": {}}}',
        '{"optimizer": {"type": "Adam", "params": {"weight_decay": 0.1}}}',
    ),
    "TOML": ("a.toml", "[optimizer]\r\n  name = 'Adam' # c\r\n", "[optimizer]\r\n  weight_decay = 0.1\r\n  name = 'Adam' # c\r\n"),
    "Python": ("a.py", "optimizer = dict(\n    type='SGD')\n", "optimizer = dict(\n    weight_decay=0.1,\n    type='SGD')\n"),
    "Python, dict": ("a.py", "optimizer = {'type': 'SGD'}", "optimizer = {\"weight_decay\": 0.1, 'type': 'SGD'}"),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_a_missing_key_is_added_only_on_request(name: str, tmp_path: Path) -> None:
    suffix, before, after = ADDED[name]
    path = write(tmp_path / suffix, before)

    fix_file(path, 0.1)
    untouched = path.read_bytes().decode()
    fix_file(path, 0.1, add_missing=True)

    assert untouched == before
    assert path.read_bytes().decode() == after
    assert not check(str(path), Task()).findings


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_the_encoding_and_the_byte_order_mark_stay(codec: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    text = '{"é": "𝄞", "weight_decay": null}\r\n'
    mark = "\ufeff" if codec == "utf-16-be" else ""
    path.write_bytes((mark + text).encode(codec))

    assert fix_file(path).fixed

    assert path.read_bytes() == (mark + text.replace("null", "0.0")).encode(codec)


def test_a_python_file_keeps_the_encoding_that_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    text = "# -*- coding: latin-1 -*-\noptimizer = dict(type='é', weight_decay=None)\n"
    path.write_bytes(text.encode("latin-1"))

    assert fix_file(path).fixed

    assert path.read_bytes() == text.replace("None", "0.0").encode("latin-1")


def test_a_result_with_another_meaning_is_never_written(tmp_path: Path) -> None:
    # Directly behind the value is a comment sign, which a replacement may activate or deactivate. The result must read
    # as the old data with another value; otherwise the file must be left alone.
    path = write(tmp_path / "a.yaml", "o: {lr: 1, weight_decay}\noptimizer: {weight_decay: !!null &x '', b: *x}\n")

    result = fix_file(path)

    assert not result.fixed
    assert path.read_text().startswith("o: {lr: 1, weight_decay}")


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-5, 1e-300, 5.0, 1e22])
@pytest.mark.parametrize("suffix", ["yaml", "json", "toml", "py"])
def test_every_format_reads_the_value_back_as_that_float(value: float, suffix: str, tmp_path: Path) -> None:
    texts = {
        "yaml": "weight_decay: null",
        "json": '{"weight_decay": null}',
        "toml": "weight_decay = 'None'",
        "py": "optimizer = dict(type='SGD', weight_decay=None)",
    }
    path = write(tmp_path / ("a." + suffix), texts[suffix])

    assert fix_file(path, value).fixed

    written = path.read_text()
    assert fix.spell(value) in written
    assert float(fix.spell(value)) == value
    if suffix == "yaml":
        yaml = pytest.importorskip("yaml")
        assert yaml.safe_load(written) == {"weight_decay": value}
        assert isinstance(yaml.safe_load(written)["weight_decay"], float)
    if suffix == "toml":
        tomlkit = pytest.importorskip("tomlkit")
        assert tomlkit.parse(written).unwrap() == {"weight_decay": value}


def test_two_findings_of_one_file_are_mended_together(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "o: {lr: 1, weight_decay: null}\n---\nweight_decay: ~\n")

    assert len(fix_file(path).fixed) == 2
    assert path.read_text() == "o: {lr: 1, weight_decay: 0.0}\n---\nweight_decay: 0.0\n"


def test_patch_applies_a_diff_of_many_changes(tmp_path: Path) -> None:
    lines = [
        f"a{index}: {{lr: 1, weight_decay: null}}\n" if index % 7 < 2 else f"b{index}: 1\n" for index in range(200)
    ]
    path = write(tmp_path / "a.yaml", "".join(lines) + "o:\n  _target_: torch.optim.SGD")

    shown = check(str(path), Task(0.5, False, True)).diff
    assert check(str(path), Task(0.5, True, True)).fixed
    after = path.read_text()

    write(path, "".join(lines) + "o:\n  _target_: torch.optim.SGD")
    done = subprocess.run(
        ["git", "apply", "-p0", "-"], input=shown.replace(f"{path}", "a.yaml"), text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    assert path.read_text() == after
    assert after.count("0.5") == len([line for line in lines if "null" in line]) + 1
