"""A fix keeps the owner, permissions and links of a file, or leaves it as it is, also with concurrent processes."""

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
from check_process import MAIN, SOURCE
from fixed_files import fix_file, names, write

from shim.configs import fix

resource = pytest.importorskip("resource", reason="these tests are about POSIX files")


def test_permissions_stay_and_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = write(tmp_path / "real" / "a.yaml", "weight_decay: null\n")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(Path("real") / "a.yaml")

    assert fix_file(link).fixed

    assert link.is_symlink()
    assert real.read_text() == "weight_decay: 0.0\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert names(real.parent) == ["a.yaml"]


def test_a_read_only_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o444)

    result = fix_file(path)

    assert "read-only" in result.error
    assert path.read_text() == "weight_decay: null\n"


def test_a_file_with_hard_links_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    os.link(path, tmp_path / "b.yaml")

    assert "hard links" in fix_file(path).error
    assert path.read_text() == "weight_decay: null\n"


def test_a_file_that_changed_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    seen = fix.read(str(path))
    path.write_text("weight_decay: 0.3\n")

    with pytest.raises(fix.FixError, match="changed"):
        fix.replace(seen, b"weight_decay: 0.0\n")

    assert path.read_text() == "weight_decay: 0.3\n"
    assert names(tmp_path) == ["a.yaml"]


def test_permissions_that_are_removed_meanwhile_are_not_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o664)
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (sync(handle), path.chmod(0o600) if path.stat().st_mode & 4 else 0))

    assert fix_file(path).fixed  # the fix notices the change at its second check

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_deleted_meanwhile_is_not_created_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    seen = fix.read(str(path))
    path.unlink()

    with pytest.raises((fix.FixError, OSError)):
        fix.replace(seen, b"weight_decay: 0.0\n")

    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_file_unchanged_and_no_other_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n" + "# filler\n" * 5000)
    before = path.read_bytes()
    # The operating system refuses to let any file grow beyond this size, as if the disk were full.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        result = fix_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert "left as it is: " in result.error
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.yaml"]


def test_a_file_in_a_read_only_directory_is_left_as_it_is() -> None:
    # Not below pytest's directory: as root, the test changes to another user, who must be able to enter the directory.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder / "a.yaml", "weight_decay: null\n")
        path.chmod(0o666)
        folder.chmod(0o555)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            result = fix_file(path)
        finally:
            os.seteuid(me)
            folder.chmod(0o755)

        assert result.error == "left as it is: Permission denied"
        assert path.read_text() == "weight_decay: null\n"
        assert names(folder) == ["a.yaml"]


# All modules are imported before the change, because the other user may not be able to read this Python's files.
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
    """Return an access control list in Linux's format: tag (1 owner, 2 user, 4 group, 8 group, 16, 32), rights, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
# Owner and group may read and write. The group 1234 has no permission.
DENIED = access_list((1, 6, NOBODY), (4, 6, NOBODY), (8, 0, 1234), (16, 6, NOBODY), (32, 0, NOBODY))


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def give(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except (AttributeError, OSError) as error:
        pytest.skip(f"no {name} here: {error}")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o755, 0o4755, 0o2664])
def test_a_fix_keeps_the_mode_of_the_file(mode: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(mode)

    assert fix_file(path).fixed

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_fix_keeps_the_access_control_list_and_the_attributes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    give(path, "user.origin", b"by hand")
    give(path, "system.posix_acl_access", DENIED)
    before = attributes(path), path.stat().st_mode

    assert fix_file(path).fixed

    assert path.read_text() == "weight_decay: 0.0\n"
    assert (attributes(path), path.stat().st_mode) == before


def test_a_default_access_control_list_does_not_widen_the_access(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o640)
    everybody = access_list((1, 7, NOBODY), (4, 7, NOBODY), (8, 7, 1234), (16, 7, NOBODY), (32, 7, NOBODY))
    give(tmp_path, "system.posix_acl_default", everybody)

    assert fix_file(path).fixed

    assert "system.posix_acl_access" not in attributes(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("what", ["chown", "chmod", "setxattr", "access control list"])
def test_a_file_whose_attributes_cannot_be_kept_is_left_as_it_is(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    path.chmod(0o664)

    def refuse(*_: Any) -> None:
        raise PermissionError

    if what == "chown":
        # As if the file belonged to a group of which this user is not a member.
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

    result = fix_file(path)

    assert result.error.startswith("left as it is: a new file cannot be given its ")
    assert says in result.error
    assert path.read_text() == "weight_decay: null\n"
    assert names(tmp_path) == ["a.yaml"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("owner", "group", "mode"), [(1001, 2002, 0o660), (1002, 1001, 0o666), (1002, 1001, 0o4777)])
def test_a_file_of_another_owner_or_group_keeps_them_or_is_left_as_it_is(owner: int, group: int, mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "a.yaml", "weight_decay: null\n")
        os.chown(path, owner, group)
        path.chmod(mode)
        Path(name).chmod(0o777)
        before = path.stat()

        done = start(str(path), code=SOMEBODY)
        error = done.communicate()[0]
        left = path.read_text()
        assert fix_file(path).fixed  # root can keep the owner

        assert f"owner and group ({owner}:{group})" in error
        assert left == "weight_decay: null\n"
        after = path.stat()
        assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
        assert names(Path(name)) == ["a.yaml"]


def test_the_next_fix_removes_what_a_killed_fix_left(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    killed = start(str(path), code=KILLED)
    killed.communicate()
    assert killed.returncode == -9
    assert path.read_text() == "weight_decay: null\n"
    assert len(names(tmp_path)) == 2
    # A file that another fix has open at this moment is not deleted.
    busy = write(tmp_path / f"{fix.TEMPORARY}busy", "")
    with open(busy) as held:
        fix._lock(held.fileno(), 0.0)

        second = start(str(tmp_path))
        second.communicate()

        assert second.returncode == 0
        assert sorted(names(tmp_path)) == [busy.name, "a.yaml"]
    assert path.read_text() == "weight_decay: 0.0\n"


def test_what_a_killed_fix_left_is_removed_even_if_there_is_nothing_to_fix(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: 0.1\n")
    write(tmp_path / f"{fix.TEMPORARY}left", "")

    assert not fix_file(path).error

    assert names(tmp_path) == ["a.yaml"]


def test_a_file_with_the_longest_possible_name_is_fixed(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = write(tmp_path / ("a" * (longest - 5) + ".yaml"), "weight_decay: null\n")

    assert fix_file(path).fixed

    assert names(tmp_path) == [path.name]


def test_many_simultaneous_fixes_all_succeed(tmp_path: Path) -> None:
    for index in range(40):
        write(tmp_path / f"{index}.yaml", "weight_decay: null\n")

    running = [start(str(tmp_path)) for _ in range(4)]
    results = [(*process.communicate(), process.returncode) for process in running]

    assert [code for *_, code in results] == [0, 0, 0, 0], results
    assert all(path.read_text() == "weight_decay: 0.0\n" for path in tmp_path.iterdir())
    assert len(names(tmp_path)) == 40


def test_a_file_that_changes_at_every_read_is_left_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "weight_decay: null\n")
    sync = os.fsync

    def change(handle: int) -> None:
        sync(handle)
        with open(path, "a") as file:
            file.write("#\n")

    monkeypatch.setattr(os, "fsync", change)

    assert "it changed" in fix_file(path).error
    assert path.read_text().startswith("weight_decay: null\n#\n")
    assert names(tmp_path) == ["a.yaml"]
