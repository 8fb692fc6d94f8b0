# ruff: noqa: E402, E501 - importorskip comes first, and each text stands on its line
"""A fix changes the bytes of the value and nothing else, or nothing at all."""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

resource = pytest.importorskip("resource", reason="these tests are about POSIX files")

import shim
from shim.configs import fix
from shim.configs.command import Result, Task, check

MENDED: dict[str, tuple[str, str, str]] = {
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


def mend(path: Path, value: float = 0.0, *, add_missing: bool = False) -> Result:
    return check(str(path), Task(value, True, add_missing))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", MENDED)
def test_a_fix_changes_the_value_alone_and_a_second_one_nothing(name: str, tmp_path: Path) -> None:
    suffix, before, after = MENDED[name]
    path = write(tmp_path / suffix, before)

    result = mend(path)
    inode = path.stat().st_ino
    again = mend(path)

    assert path.read_bytes().decode() == (before if after is None else after)
    assert bool(result.mended) == (after is not None)
    assert not again.mended
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

    mend(path, 0.1)
    untouched = path.read_bytes().decode()
    mend(path, 0.1, add_missing=True)

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

    assert mend(path).mended

    assert path.read_bytes() == (mark + text.replace("null", "0.0")).encode(codec)


def test_a_python_file_keeps_the_encoding_that_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    text = "# -*- coding: latin-1 -*-\noptimizer = dict(type='é', weight_decay=None)\n"
    path.write_bytes(text.encode("latin-1"))

    assert mend(path).mended

    assert path.read_bytes() == text.replace("None", "0.0").encode("latin-1")


def test_permissions_stay_and_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = write(tmp_path / "real" / "a.yaml", "weight_decay: null\n")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(Path("real") / "a.yaml")

    assert mend(link).mended

    assert link.is_symlink()
    assert real.read_text() == "weight_decay: 0.0\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert names(real.parent) == ["a.yaml"]


def test_a_read_only_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o444)

    result = mend(path)

    assert "read-only" in result.error
    assert path.read_text() == "weight_decay: null\n"


def test_a_file_with_hard_links_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    os.link(path, tmp_path / "b.yaml")

    assert "hard links" in mend(path).error
    assert path.read_text() == "weight_decay: null\n"


def test_a_file_that_changed_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    seen = fix.read(str(path))
    path.write_text("weight_decay: 0.3\n")

    with pytest.raises(fix.MendError, match="changed"):
        fix.replace(seen, b"weight_decay: 0.0\n")

    assert path.read_text() == "weight_decay: 0.3\n"
    assert names(tmp_path) == ["a.yaml"]


def test_rights_that_are_taken_away_meanwhile_are_not_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o664)
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (sync(handle), path.chmod(0o600) if path.stat().st_mode & 4 else 0))

    assert mend(path).mended  # at the second check

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_vanished_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    seen = fix.read(str(path))
    path.unlink()

    with pytest.raises((fix.MendError, OSError)):
        fix.replace(seen, b"weight_decay: 0.0\n")

    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n" + "# filler\n" * 5000)
    before = path.read_bytes()
    # The kernel refuses to let any file grow beyond this, as it does when the disk is full.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        result = mend(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert "left as it is: " in result.error
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.yaml"]


def test_a_directory_that_is_not_writable_leaves_the_file() -> None:
    # Not below pytest's directory: as root, the test changes to another user, who must be able to enter this one.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder / "a.yaml", "weight_decay: null\n")
        path.chmod(0o666)
        folder.chmod(0o555)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            result = mend(path)
        finally:
            os.seteuid(me)
            folder.chmod(0o755)

        assert result.error == "left as it is: Permission denied"
        assert path.read_text() == "weight_decay: null\n"
        assert names(folder) == ["a.yaml"]


def test_a_result_that_means_something_else_is_never_written(tmp_path: Path) -> None:
    # The value stands directly before a comment sign that would swallow or release text: whatever the splice
    # does here, the file either reads as the old data with another value, or is left alone.
    path = write(tmp_path / "a.yaml", "o: {lr: 1, weight_decay}\noptimizer: {weight_decay: !!null &x '', b: *x}\n")

    result = mend(path)

    assert not result.mended
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

    assert mend(path, value).mended

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

    assert len(mend(path).mended) == 2
    assert path.read_text() == "o: {lr: 1, weight_decay: 0.0}\n---\nweight_decay: 0.0\n"


SOURCE = str(Path(shim.__file__).parents[1])
MAIN = "import sys; from shim.configs.command import main; sys.exit(main(sys.argv[1:]))"
# Everything is imported before, because the other user may not be able to read the files of this Python.
SOMEBODY = """import os, sys, tempfile, yaml
from shim.configs.command import Task, check
os.setgroups([]), os.setgid(1001), os.setuid(1001)
print(check(sys.argv[1], Task(0.0, True)).error)
"""
KILLED = "import os; os.replace = lambda *_: os.kill(os.getpid(), 9)\n" + MAIN


def start(*arguments: str, code: str = MAIN, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--fix", "--value", "0"],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """Return an access control list as Linux keeps it: tag (1 owner, 2 user, 4 group, 8 group, 16, 32), rights, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
# Owner and group may read and write, but the group 1234 may nothing.
DENIED = access_list((1, 6, NOBODY), (4, 6, NOBODY), (8, 0, 1234), (16, 6, NOBODY), (32, 0, NOBODY))


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def give(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except (AttributeError, OSError) as error:
        pytest.skip(f"no {name} here: {error}")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o755, 0o4755, 0o2664])
def test_the_mode_stays(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(mode)

    assert mend(path).mended

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_access_control_list_and_the_attributes_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    give(path, "user.origin", b"by hand")
    give(path, "system.posix_acl_access", DENIED)
    before = attributes(path), path.stat().st_mode

    assert mend(path).mended

    assert path.read_text() == "weight_decay: 0.0\n"
    assert (attributes(path), path.stat().st_mode) == before


def test_a_directory_that_gives_its_files_more_does_not_widen_the_access(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o640)
    everybody = access_list((1, 7, NOBODY), (4, 7, NOBODY), (8, 7, 1234), (16, 7, NOBODY), (32, 7, NOBODY))
    give(tmp_path, "system.posix_acl_default", everybody)

    assert mend(path).mended

    assert "system.posix_acl_access" not in attributes(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("what", ["chown", "chmod", "setxattr", "access control list"])
def test_what_cannot_be_kept_is_a_reason_to_leave_the_file(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o664)

    def refuse(*_: Any) -> None:
        raise PermissionError

    if what == "chown":
        # As if it belonged to a group that this user is not a member of.
        status = list(path.stat())
        status[5] += 1
        real = fix.read(str(path))
        monkeypatch.setattr(fix, "read", lambda _: real._replace(status=os.stat_result(status)))
        monkeypatch.setattr(os, "fchown", refuse)
        says = "owner and group"
    elif what == "chmod":
        monkeypatch.setattr(os, "fchmod", refuse)
        says = "mode (0664)"
    else:
        acl = what != "setxattr"
        give(path, "system.posix_acl_access" if acl else "user.a", DENIED if acl else b"1")
        monkeypatch.setattr(os, "setxattr", refuse)
        says = what if acl else "user.a"

    result = mend(path)

    assert result.error.startswith("left as it is: a new file cannot be given its ")
    assert says in result.error
    assert path.read_text() == "weight_decay: null\n"
    assert names(tmp_path) == ["a.yaml"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("owner", "group", "mode"), [(1001, 2002, 0o660), (1002, 1001, 0o666), (1002, 1001, 0o4777)])
def test_a_file_that_is_not_ours_alone_keeps_its_owner_and_group_or_is_left(owner: int, group: int, mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "a.yaml", "weight_decay: null\n")
        os.chown(path, owner, group)
        path.chmod(mode)
        Path(name).chmod(0o777)
        before = path.stat()

        done = start(str(path), code=SOMEBODY)
        error = done.communicate()[0]
        left = path.read_text()
        assert mend(path).mended  # root can

        assert f"owner and group ({owner}:{group})" in error
        assert left == "weight_decay: null\n"
        after = path.stat()
        assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
        assert names(Path(name)) == ["a.yaml"]


def test_what_a_killed_fix_leaves_the_next_one_takes_away(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    killed = start(str(path), code=KILLED)
    killed.communicate()
    assert killed.returncode == -9
    assert path.read_text() == "weight_decay: null\n"
    assert len(names(tmp_path)) == 2
    # A file that another fix has open at the moment is not deleted.
    busy = write(tmp_path / f"{fix.TEMPORARY}busy", "")
    with open(busy) as held:
        fix._lock(held.fileno(), 0.0)

        second = start(str(tmp_path))
        second.communicate()

        assert second.returncode == 0
        assert sorted(names(tmp_path)) == [busy.name, "a.yaml"]
    assert path.read_text() == "weight_decay: 0.0\n"


def test_what_a_killed_fix_leaves_goes_even_if_there_is_nothing_to_mend(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: 0.1\n")
    write(tmp_path / f"{fix.TEMPORARY}left", "")

    assert not mend(path).error

    assert names(tmp_path) == ["a.yaml"]


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = write(tmp_path / ("a" * (longest - 5) + ".yaml"), "weight_decay: null\n")

    assert mend(path).mended

    assert names(tmp_path) == [path.name]


def test_of_many_fixes_at_once_all_end_well(tmp_path: Path) -> None:
    for index in range(40):
        write(tmp_path / f"{index}.yaml", "weight_decay: null\n")

    running = [start(str(tmp_path)) for _ in range(4)]
    results = [(*process.communicate(), process.returncode) for process in running]

    assert [code for *_, code in results] == [0, 0, 0, 0], results
    assert all(path.read_text() == "weight_decay: 0.0\n" for path in tmp_path.iterdir())
    assert len(names(tmp_path)) == 40


def test_a_file_that_changes_at_every_look_is_left_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    sync = os.fsync

    def change(handle: int) -> None:
        sync(handle)
        with open(path, "a") as file:
            file.write("#\n")

    monkeypatch.setattr(os, "fsync", change)

    assert "it changed" in mend(path).error
    assert path.read_text().startswith("weight_decay: null\n#\n")
    assert names(tmp_path) == ["a.yaml"]


def test_a_patch_of_many_changes_is_what_patch_applies(tmp_path: Path) -> None:
    lines = [
        f"a{index}: {{lr: 1, weight_decay: null}}\n" if index % 7 < 2 else f"b{index}: 1\n" for index in range(200)
    ]
    path = write(tmp_path / "a.yaml", "".join(lines) + "o:\n  _target_: torch.optim.SGD")

    shown = check(str(path), Task(0.5, False, True)).diff
    assert check(str(path), Task(0.5, True, True)).mended
    after = path.read_text()

    write(path, "".join(lines) + "o:\n  _target_: torch.optim.SGD")
    done = subprocess.run(
        ["git", "apply", "-p0", "-"], input=shown.replace(f"{path}", "a.yaml"), text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    assert path.read_text() == after
    assert after.count("0.5") == len([line for line in lines if "null" in line]) + 1
