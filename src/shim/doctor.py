"""``doctor``: what shim would do for a job that is started here, and what stands in its way.

Nothing is imported into this process: what a job would see is looked at in child processes, started through each
door as a job would be. ``docs/doctor.md`` describes the data that ``--json`` prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from . import __version__, bootstrap, launch

if TYPE_CHECKING:
    pass

#: How wide the lines in words are.
WIDTH = 80

#: Where the package can be imported from: site-packages, or the src of a checkout.
ROOT = str(Path(bootstrap.PACKAGE).parent)

#: Trains a few steps with None in the constructor and in a group, and reports as JSON on its last line.
SELF_TEST = """
import json, warnings
warnings.simplefilter("ignore")
import torch
parameter = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=None)
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "weight_decay": None})
for _ in range(3):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.ones(2)
    optimizer.step()
print(json.dumps([group["weight_decay"] for group in optimizer.param_groups]))
"""

#: Looks at the torch that a job would import, before and after the guards: run in a child, with no door.
LOOK = """
import json, sys
early = "torch" in sys.modules
try:
    import torch.optim
except Exception as error:
    print(json.dumps({"missing": "%s: %s" % (type(error).__name__, error)}))
    sys.exit()
sys.path.insert(0, sys.argv[1])
import shim, shim.layout, shim.doctor
others = shim.doctor.patched_by_others()
shim.activate()
status = shim.status()
print(json.dumps({
    "version": str(status.layout.version),
    "location": torch.__file__,
    "era": status.layout.era.number,
    "releases": status.layout.era.releases,
    "known": status.layout.known,
    "imported_at_startup": early,
    "patched_by_others": others,
    "patches": [outcome._asdict() for outcome in status.outcomes],
    "error": status.error,
}))
"""


def main(argv: list[str]) -> int:
    """Print the findings; return 0 if a job would be guarded through every door, 1 if not.

    With ``--explain`` print the patches that answer an error message; return 0 if there is one, 1 if not.
    """
    parser = argparse.ArgumentParser(
        prog="shim doctor", description="Say what shim does for a job that is started here, and what stops it."
    )
    parser.add_argument("--json", action="store_true", help="print the findings as data (docs/doctor.md)")
    parser.add_argument("--explain", metavar="MESSAGE", help="name the patch that answers an error message")
    options = parser.parse_args(argv)
    if options.explain is not None:
        return _explain(options.explain, as_data=options.json)
    found = examine()
    sys.stdout.write((json.dumps(found, indent=2) if options.json else "\n".join(in_words(found))) + "\n")
    return 0 if found["guarded"] else 1


def _explain(message: str, as_data: bool) -> int:
    from . import explain

    answers = explain.explain(message)
    if as_data:
        found = [
            {"patch": each.name, "reason": each.reason, "switch": each.switch, "torch": each.versions}
            for each in answers
        ]
        command = explain.command(answers) if answers else None
        sys.stdout.write(json.dumps({"answers": found, "command": command}, indent=2) + "\n")
        return 0 if answers else 1
    lines = []
    for answer in answers:
        only = f", for torch {answer.versions}" if answer.versions else ""
        lines += [answer.name, *_wrapped("    ", answer.reason), "    " + answer.switch + only]
    lines += ["", f"Start your job with: {explain.command(answers)}"] if answers else ["No patch answers this message."]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if answers else 1


def examine() -> dict[str, Any]:
    """Look at this interpreter, its torch, the doors and what is in their way. Returns what --json prints."""
    torch = _child_json([*_python(), "-c", LOOK, ROOT], SHIM_DISABLE="")
    with ThreadPoolExecutor() as at_once:  # each imports torch, which takes seconds
        doors = [] if "missing" in torch else list(at_once.map(_try_door, *zip(*_doors())))
    obstacles = list(_obstacles(torch))
    return {
        "shim": __version__,
        "python": {"version": sys.version.split()[0], "executable": sys.executable},
        "torch": torch,
        "doors": doors,
        "obstacles": obstacles,
        "guarded": bool(doors) and all(door["works"] for door in doors),
    }


def patched_by_others() -> list[str]:
    """List the targets that are not torch's own functions any more, before we touch them; called in the child."""
    from .activation import REGISTRY
    from .registry import resolve

    foreign = []
    for target in (target for patch in REGISTRY for target in patch.targets):
        found = resolve(target)
        if found is None or target.kind == "submodule":
            continue
        value = getattr(found[1], {"constructor": "__init__", "step": "step"}.get(target.kind, ""), found[1])
        module = str(getattr(value, "__globals__", {}).get("__name__", "torch"))
        if target.kind in ("constructor", "step", "functional") and type(value) is not FunctionType:
            # Such as wrapt's, which shows the globals of what it wraps.
            module = f"{type(value).__module__}.{type(value).__qualname__}"
        if module.partition(".")[0] not in ("torch", "functools"):
            foreign.append(f"{target.path}, its {target.kind}, in {module}")
    return foreign


def _python() -> list[str]:
    """Return how a job is started as this process was: -I, -E and -S may keep a door shut."""
    return [sys.executable, *launch.own_options()]


def _doors() -> list[tuple[str, list[str], dict[str, str]]]:
    python = _python()
    # As it is where the user says `python -m shim`, be that an installation or the checkout's src.
    importable = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return [
        ("run", [*python, "-m", "shim", "run", "-c", SELF_TEST], {"PYTHONPATH": importable}),
        ("PYTHONPATH", [*python, "-c", SELF_TEST], {"PYTHONPATH": launch.python_path()}),
        ("preimport", [*python, "-c", "import preimport" + SELF_TEST], {"PYTHONPATH": importable}),
    ]


def _try_door(name: str, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    child = _child(command, **environment)
    last = (child.stdout.strip().splitlines() or [""])[-1]
    works = child.returncode == 0 and last == "[0.0, 0.0]"
    reason = "" if works else (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    return {"door": name, "works": works, "reason": reason}


def _obstacles(torch: dict[str, Any]) -> Any:
    """Yield what stands in the way of a door here, in words."""
    for flag, option in (("isolated", "-I"), ("ignore_environment", "-E"), ("no_site", "-S")):
        if getattr(sys.flags, flag):
            yield f"this Python runs with {option}: no sitecustomize is read; use `import preimport`"
    if getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        yield "PYTHONSAFEPATH is set: `import preimport` finds an installed one, and none that lies beside the script"
    for name, effect in (
        ("SHIM_DISABLE", "shim is off"),
        ("SHIM_STRICT", "a None is an error, not repaired"),
        ("SHIM_SKIP", "patches are left out: " + os.environ.get("SHIM_SKIP", "")),
    ):
        if bootstrap.switched_on(name):
            yield f"{name} is set: {effect}"
    in_front = _sitecustomize_in_front()
    if in_front:
        yield (
            f"{in_front} stands in front of ours on PYTHONPATH and must load the next one itself; put ours first, "
            "or start the job with `python -m shim run` behind the command that put it there"
        )
    if torch.get("imported_at_startup"):
        yield "torch is imported while Python starts (a .pth file, usercustomize): shim is late there"
    for target in torch.get("patched_by_others", ()):
        yield f"another tool has patched {target}"
    if torch.get("error"):
        yield f"shim itself failed: {torch['error']}"


def _sitecustomize_in_front() -> str | None:
    """Return a sitecustomize that PYTHONPATH finds before ours, if ours is on it at all."""
    before: list[Path] = []
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        places = (Path(entry) / "src" / "shim" / "site", Path(entry).parent / "site")  # a checkout; an installation
        if any((place / "sitecustomize.py").exists() for place in places):
            return next((str(file) for file in before if file.exists()), None)
        before.append(Path(entry) / "sitecustomize.py")
    return None


def _child(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def _child_json(command: list[str], **environment: str) -> dict[str, Any]:
    child = _child(command, **environment)
    try:
        found: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (child.stderr.strip().splitlines() or ["no output"])[-1]
        return {"missing": f"looking at torch ended with exit code {child.returncode}: {last}"}
    return found


# --- in words -------------------------------------------------------------------------------------------------------


def in_words(found: dict[str, Any]) -> list[str]:
    """Render the findings for a terminal."""
    torch = found["torch"]
    lines = [f"shim    {found['shim']}", f"Python  {found['python']['version']}, {found['python']['executable']}"]
    if "missing" in torch:
        lines += _wrapped("torch   ", "none: " + torch["missing"])
        return [*lines, *_in_the_way(found), "", "A job is NOT guarded here."]
    known = "" if torch["known"] else ", newer than any that shim was run on"
    lines += _wrapped("torch   ", f"{torch['version']}, {torch['location']}")
    lines += ["        " + f"era {torch['era']} ({torch['releases']}){known}", "", "Patches"]
    name_width = max(len(patch["patch"]) for patch in torch["patches"])
    for patch in torch["patches"]:
        lines += _wrapped(f"  {patch['patch']:<{name_width}}  {patch['state']:<7}  ", patch["reason"])
    lines += ["", "Doors, each tried with a few steps of training in a process of its own"]
    for door in found["doors"]:
        lines += _wrapped(f"  {door['door']:<10}  ", "works" if door["works"] else "FAILS: " + door["reason"])
    lines += _in_the_way(found)
    return [*lines, "", "A job is guarded here." if found["guarded"] else "A job is NOT guarded here."]


def _in_the_way(found: dict[str, Any]) -> list[str]:
    lines = [line for obstacle in found["obstacles"] for line in _wrapped("  - ", obstacle)]
    return ["", "In the way", *lines] if lines else []


def _wrapped(first: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]
