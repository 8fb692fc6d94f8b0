"""``shim enable`` writes one .pth file, which guards an environment; ``shim disable`` removes it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

DIES = "import torch; print(torch.optim.AdamW([torch.ones(1)], weight_decay=None).defaults['weight_decay'])"
STATUS = "import torch, shim; status = shim.status(); print(status.door, status.written_for)"


@pytest.fixture
def environment(tmp_path, checkout):
    """Return a separate environment that has the torch of this one. Calling it runs its Python."""

    class Environment:
        home = tmp_path / "environment"

        def __init__(self):
            venv.create(str(self.home), symlinks=True)
            self.site_packages = next(self.home.glob("lib/python*/site-packages"))
            paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
            (self.site_packages / "dependencies.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")
            self.pth = self.site_packages / "_torch_shim.pth"

        def __call__(self, *arguments, **environment):
            command = [str(self.home / "bin" / "python"), *map(str, arguments)]
            return subprocess.run(
                command,
                env={"PATH": os.environ["PATH"], **environment},
                cwd=str(tmp_path),
                capture_output=True,
                text=True,
            )

        def shim(self, *arguments, **environment):
            return self("-m", "shim", *arguments, PYTHONPATH=str(checkout / "src"), **environment)

    return Environment()


def test_every_python_of_the_environment_is_guarded_and_then_not(environment):
    assert environment("-c", DIES).returncode == 1
    enabled = environment.shim("enable")
    assert (enabled.returncode, enabled.stderr) == (0, "")
    assert str(environment.pth) in enabled.stdout
    for options in ((), ("-I",), ("-E",), ("-s",)):
        assert environment(*options, "-c", DIES).stdout == "0.0\n"
    assert environment("-c", STATUS).stdout == "enabled None\n"
    assert environment("-c", DIES, SHIM_DISABLE="1").returncode == 1
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', {DIES!r}], env={{}})"
    assert environment("-c", grandchild).stdout == "0.0\n"

    disabled = environment.shim("disable")
    assert (disabled.returncode, disabled.stderr) == (0, "")
    assert not environment.pth.exists()
    assert environment("-c", DIES).returncode == 1
    again = environment.shim("disable")
    assert (again.returncode, again.stderr) == (0, "") and "is not enabled" in again.stdout


def test_the_environment_overrides_the_release_that_was_enabled(environment):
    environment.shim("enable", "--for", "1.7")
    assert environment("-c", STATUS).stdout == "enabled 1.7\n"
    assert environment("-c", STATUS, SHIM_FOR="1.8").stdout == "enabled 1.8\n"
    assert environment("-c", STATUS, SHIM_FOR="").stdout == "enabled None\n"
    assert environment("-c", "import torch._six, torch; print(torch._six.inf)").stdout == "inf\n"
    environment.shim("enable")
    assert environment("-c", STATUS).stdout == "enabled None\n"


@pytest.mark.parametrize("release", ["1.99", "old"])
def test_an_unknown_release_is_an_error_of_one_line(environment, release):
    refused = environment.shim("enable", "--for", release)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert release in refused.stderr and not environment.pth.exists()


def test_a_read_only_environment_is_an_error_of_one_line(environment, tmp_path):
    environment.site_packages.rename(tmp_path / "packages")
    environment.site_packages.write_text("a file, which not even root can write into")
    for command in ("enable", "disable"):
        refused = environment.shim(command)
        if command == "enable" or refused.returncode:
            assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
            assert str(environment.pth) in refused.stderr


def test_the_file_works_if_shim_is_installed_where_python_looks_later_or_not_at_all(environment, checkout, tmp_path):
    """With --system-site-packages, shim's directory comes after the .pth file. With -I, pip's --user one is missing."""
    elsewhere = tmp_path / "elsewhere" / "site-packages"
    shutil.copytree(str(checkout / "src" / "shim"), str(elsewhere / "shim"))
    environment("-m", "shim", "enable", PYTHONPATH=str(elsewhere))
    for options in ((), ("-I",)):
        assert environment(*options, "-c", DIES).stdout == "0.0\n"
    (environment.site_packages / "zz_later.pth").write_text(f"{elsewhere}\n")
    assert environment("-c", STATUS).stdout == "enabled None\n"


def test_a_file_left_by_a_removed_shim_does_nothing(environment):
    environment.shim("enable")
    text = environment.pth.read_text()
    environment.pth.write_text(text.replace("sitecustomize.py", "gone.py"))
    plain = environment("-c", "print('ran')")
    assert (plain.returncode, plain.stdout, plain.stderr) == (0, "ran\n", "")


def test_with_the_other_doors_there_is_one_finder(environment, checkout):
    environment.shim("enable")
    code = "import sys; print(sum(hasattr(finder, '_shim') for finder in sys.meta_path)); " + STATUS
    assert environment("-c", code, PYTHONPATH=str(checkout)).stdout == "1\nenabled None\n"
    assert environment("-c", "import preimport; " + DIES, PYTHONPATH=str(checkout / "src")).stdout == "0.0\n"
    assert environment.shim("run", "-c", DIES).stdout == "0.0\n"


def test_the_file_is_plain_text_that_every_user_can_read(environment):
    environment.shim("enable")
    text = environment.pth.read_bytes()
    assert text.isascii() if hasattr(text, "isascii") else True
    assert text.count(b"\n") == 1 and text.startswith(b"import ")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(environment.pth.stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in Path(environment.site_packages).glob("_torch*")] == [environment.pth.name]


def test_a_program_sees_the_same_sys_path_and_modules(environment):
    code = "import sys; print(sys.path, sorted(sys.modules), sorted(vars(__import__('site'))))"
    plain = environment("-c", code)
    environment.shim("enable")
    assert environment("-c", code).stdout == plain.stdout
