"""Write what is printed from runs and rows: support.md, compatibility.md and errors.md in docs/, and the index of rows.

``scripts/matrix`` runs the releases and calls ``write``; ``scripts/matrix --table`` calls ``write`` only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from shim import rows, timeline  # noqa: E402
from shim.patches.torch_optim import NONE_ANSWERS  # noqa: E402
from shim.releases import TORCH, Release, is_in, of_the_time  # noqa: E402
from shim.switches import in_a_shell  # noqa: E402

TABLE = ROOT / "docs" / "support.md"
BREAKAGES = ROOT / "docs" / "compatibility.md"
ERRORS = ROOT / "docs" / "errors.md"
INDEX = ROOT / "src" / "shim" / "rows" / "index.py"

SYMBOLS = {"works": "✓", "torch's own": "t", "limit": "l", "absent": "–", "fails": "✗", "not run": "?"}  # noqa: RUF001


def write(records, releases, machine):
    """Write the three pages and the index.

    Args:
        records: (torch release, Python) -> the record of its run.
        releases: the columns, each a torch release and a Python.
        machine: where the tests ran, in words.
    """
    TABLE.write_text(table(records, releases, machine))
    kept = BREAKAGES.read_text().partition(MARK)[0]
    BREAKAGES.write_text(kept + MARK + breakages(records, releases))
    ERRORS.write_text(errors())
    INDEX.write_text(index())


def index():
    """Render the index of the rows that a program may get, so that only the files it needs are imported."""
    lines = [
        '"""The rows of each file, each with its package and the releases on which a program works without the row.',
        "",
        "An empty specifier means that ``--for`` does not apply the row. Written by ``scripts/matrix --table``.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "ROWS: dict[str, tuple[tuple[str, str, str], ...]] = {",
    ]
    for family, inside in rows.by_family().items():
        patches = [patch for patch in inside if patch.targets]
        here = [f'("{patch.name}", "{patch.of}", "{"" if patch.optional else patch.works}"),' for patch in patches]
        if len(here) > 1:
            lines += [f'    "{family}": (', *(f"        {line}" for line in here), "    ),"]
        else:
            lines.append(f'    "{family}": ({"".join(here)}),')
    return "\n".join([*lines, "}", ""])


#: Everything below this line of docs/compatibility.md is replaced.
MARK = "<!-- what follows is written by scripts/matrix -->\n"


def breakages(records, releases):
    """Render the table of breakages: a line per row, a column per release."""
    columns = list(dict.fromkeys(torch for torch, _ in releases))
    minors = [torch.rpartition(".")[0] for torch in columns]
    symbols = {"works": "✓", "mended": "⇒", "fails": "✗"}

    def label(torch):
        minor = torch.rpartition(".")[0]
        return torch if minors.count(minor) > 1 else minor

    def cell(patch, torch):
        found = {
            record["breakages"][patch.name]
            for (release, _), record in records.items()
            if release == torch and patch.name in record.get("breakages", {})
        }
        return next((symbols[state] for state in ("fails", "mended", "works") if state in found), "·")

    lines = []
    for family, inside in rows.by_family().items():
        advice = [patch for patch in inside if not patch.targets]
        mended = [patch for patch in inside if patch.targets]
        lines += ["", f"### {family}", ""]
        if mended:
            lines += ["| row | what it is | works with | " + " | ".join(map(label, columns))]
            lines[-1] += " |"
            lines += ["|---|---|---|" + ":-:|" * len(columns)]
        for patch in mended:
            works = f"{patch.of} {patch.works}".replace("|", "\\|") if patch.works else "named only"
            name = f"`{patch.name}`" + " (named only)" * patch.optional
            cells = " | ".join(cell(patch, torch) for torch in columns)
            lines.append(f"| {name} | {patch.reason} | {works} | {cells} |")
        lines += [
            f"- advice, {f'works with {patch.of} {patch.works}' if patch.works else f'for every {patch.of}'}: "
            f"**{patch.name}**. {patch.reason}"
            for patch in advice
        ]
    return "\n".join(lines) + "\n"


#: The greatest number of messages that is listed for a row.
MOST_MESSAGES = 12


def spelled(pattern):
    """Return the messages that a regular expression matches, one for each combination of its alternatives.

    … stands for a part that can be any text.
    """
    parser = getattr(re, "_parser", None) or __import__("sre_parse")

    def ways(parts):
        found = [""]
        for kind, value in parts:
            name = str(kind)
            if name == "LITERAL":
                more = [chr(value)]
            elif name == "IN" and all(str(kind) == "LITERAL" for kind, _ in value):
                more = [chr(each) for _, each in value]
            elif name == "BRANCH":
                more = [way for branch in value[1] for way in ways(branch)]
            elif name == "SUBPATTERN":
                more = ways(value[-1])
            elif name in ("MAX_REPEAT", "MIN_REPEAT"):
                more = [""] if value[1] == 1 else ["…"] if value[:2] != (0, 0) else [""]
                more = ways(value[2]) if value[0] == 1 == value[1] else more
            elif name in ("AT", "ASSERT", "ASSERT_NOT"):
                more = [""]
            else:
                more = ["…"]
            found = [way + each for way in found for each in more][: 4 * MOST_MESSAGES]
        return found

    return [re.sub("…(…| )*…", "…", way).strip(" …") for way in ways(parser.parse(pattern))]


INTRODUCTION = """\
Each heading is an error message of PyTorch or of a related package that appears only on some releases. Below it: the
cause, and the command that runs the program unchanged. `python -m shim doctor --explain MESSAGE` finds the entry for a
message, and [compatibility mode](compatibility.md) says what the command does. In a message, … stands for any text."""

ABOUT_A_NONE = """\
An optimizer got `weight_decay=None`, in its constructor, a parameter group or a checkpoint. shim takes it as 0.0, or
as `SHIM_VALUE` says. A None in another option can give the same message; shim replaces only one in `weight_decay`."""

ABOUT_LOST_NAMES = """\
`cannot import name 'NAME' from 'MODULE'`, `module 'MODULE' has no attribute 'NAME'`: install a release that has the
name, or use its replacement. `doctor --explain` knows the names of all other modules, too."""

#: Identifiers of letters alone: they stay lower-case at the start of a sentence, as those with a dot or underscore do.
SMALL = ("torch", "torchvision", "torchaudio", "torchtext", "numpy", "timm", "distutils", "adam")


def sentence(text):
    """Return a text with a capital letter at its start and a full stop. An identifier at its start stays as it is."""
    first = text.split()[0].rstrip(",;:")
    text = text if first in SMALL or not first.isalpha() else text[0].upper() + text[1:]
    return text.rstrip(".") + "."


def in_words(package, works):
    """Return the releases that match a specifier, in words: ``torch 1.5 to 1.6``, ``Python before 3.9``.

    "to" and "up to" include the release. For other packages than torch the text says "before": the list of their
    releases is not at hand.
    """
    name = {"python": "Python", "numpy": "NumPy", "PIL": "Pillow"}.get(package, package)
    found = []
    for part in works.split("||"):
        bounds = re.fullmatch(r"(?:>=(\d+\.\d+))?,?(?:<(\d+(?:\.\d+)?))?", part.strip())
        if bounds is None:
            return f"{name} {works}"
        first, end = bounds.groups()
        if end is None:
            found.append(f"{first} or later")
        elif package != "torch":
            found.append(f"{first} or later, before {end}" if first else f"before {end}")
        else:
            last = "%d.%d" % max(each for each in TORCH if each < tuple(map(int, end.split("."))))
            found.append(f"up to {last}" if first is None else first if first == last else f"{first} to {last}")
    return f"{name} {' and '.join(found)}"


def command(patch):
    """Return the command that runs a program which needs a row."""
    if patch.optional:
        return f"{in_a_shell([patch.name])} python -m shim run train.py"
    newest = max(TORCH)
    works = [
        release
        for release, last in TORCH.items()
        if is_in(of_the_time(patch.of, Release("", (*release, last))), patch.works)
    ]
    chosen = max(works) if newest not in works else min(works)
    return "python -m shim run --for %d.%d train.py" % chosen


def errors():
    """Render the page of error messages: a heading for each row that answers some."""
    patches = rows.load()
    written = "Written by `scripts/matrix`, from the rows; do not edit."
    lines = ["# Error messages", "", INTRODUCTION, "", written, "", *errors_of_a_none()]
    return "\n".join([*lines, *errors_of_rows(patches), *errors_of_lost_names(patches)]) + "\n"


#: What the constructors of AdamW and SGD raise. Each is a heading, because a search lists headings first.
OF_CONSTRUCTORS = (
    "'<=' not supported between instances of 'float' and 'NoneType'",
    "'<' not supported between instances of 'NoneType' and 'float'",
)


def errors_of_a_none():
    """Return the lines about the messages for a weight decay of None."""
    ways = (way for pattern in NONE_ANSWERS for way in spelled(pattern) if not way.startswith("/"))
    first, *others = sorted(ways, key=lambda way: "for *: 'f" not in way)
    others = [way for way in others if way not in OF_CONSTRUCTORS]
    answer = [ABOUT_A_NONE, "", "```sh", "python -m shim run train.py", "```", ""]
    lines = [f"## `TypeError: {first}`", "", "Also:", "", "```", *others, "```", "", *answer]
    for message in OF_CONSTRUCTORS:
        lines += [f"## `TypeError: {message}`", "", *answer]
    return lines


def errors_of_rows(patches):
    """Return the lines about the messages that rows answer: a heading for each row."""
    lines, headings = [], set()
    for patch in patches:
        messages = list(dict.fromkeys(way for pattern in patch.answers for way in spelled(pattern) if len(way) > 12))
        if not messages:
            continue
        title = messages[0].replace("`", "'")
        title = title if title not in headings else f"{title} ({patch.name})"
        headings.add(title)
        more = messages[1:MOST_MESSAGES]
        lines += [f"## `{title}`", ""]
        lines += ["Also:", "", "```", *more, "```", ""] if more else []
        works = f"Such programs run on {in_words(patch.of, patch.works)}." if patch.works else ""
        lines += [" ".join(filter(None, [sentence(patch.reason), works])), ""]
        lines += ["```sh", command(patch), "```", ""] if patch.targets else ["No patch can fix this.", ""]
    return lines


def errors_of_lost_names(patches):
    """Return the lines about removed names that no row gives back: a table by module and release."""
    lines = [
        "## Names that are gone, and that no patch gives back",
        "",
        ABOUT_LOST_NAMES,
        "",
        "| module | gone since | names |",
        "|---|---|---|",
    ]
    given = {target.path.replace(":", ".") for patch in patches for target in patch.targets}
    # Compiled once: the cache of re is smaller than their number.
    answers = [re.compile(each) for patch in patches for each in patch.answers]
    for package in ("torch", "torchvision", "torchaudio"):
        names = timeline._data()[package]["names"]
        for module in sorted(module for module in names if module.count(".") < 2):
            by_release = {}
            for name in timeline._names(module):
                found = timeline.find(f"{module}.{name}")
                says = [f"module '{module}' has no attribute '{name}'", f"cannot import name '{name}' from '{module}'"]
                mended = any(each.search(said) for each in answers for said in says)
                gone = re.search(r"<([\d.]+)$", found.works)
                if gone and not mended and found.name not in given:
                    by_release.setdefault(gone.group(1), []).append(f"`{name}`")
            for release in sorted(by_release, key=lambda text: [*map(int, text.split("."))]):
                lines.append(f"| `{module}` | {package} {release} | {', '.join(sorted(by_release[release]))} |")
    return lines


def table(records, releases, machine):
    """Render the table: a line per row, a column per release."""
    titles = list(dict.fromkeys(name for release in releases for name in records.get(release, {}).get("rows", ())))
    titles.sort(key=lambda name: (not name.startswith("None in"),))
    lines = [
        "# What was run where",
        "",
        f"Written by `scripts/matrix`, from runs on real releases ({machine}); do not edit.",
        "`docs/support.json` names the date and the commit of each run.",
        "Other platforms and interpreters: [platforms](platforms.md).",
        "",
        "✓ no test failed, and some passed · – skipped: the release lacks what the tests need · "  # noqa: RUF001
        "t torch itself cannot do it there, with or without shim · "
        "l a limit of shim, named below · ✗ fails · ? not run · a small number is a note below",
        "",
    ]
    notes = []

    def cell(release, name):
        record = records.get(release)
        if record is None or not record["run"]:
            return SYMBOLS["not run"]
        found = record["rows"].get(name, {"state": "absent", "notes": []})
        marks = []
        for note in found["notes"]:
            note = f"{name}: {note}"
            if note not in notes:
                notes.append(note)
            marks.append(str(notes.index(note) + 1))
        return SYMBOLS[found["state"]] + (f"<sup>{','.join(marks)}</sup>" if marks else "")

    lines.append("| torch | " + " | ".join(torch for torch, _ in releases) + " |")
    lines.append("|---|" + ":-:|" * len(releases))
    lines.append("| Python | " + " | ".join(python for _, python in releases) + " |")
    lines += [f"| {name} | " + " | ".join(cell(release, name) for release in releases) + " |" for name in titles]
    lines += ["", "## Notes", ""] + [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    missing = [release for release in releases if not records.get(release, {"run": False})["run"]]
    if missing:
        lines += ["", "## Not run", ""]
        for torch, python in missing:
            reason = records.get((torch, python), {}).get("reason", "not tried yet")
            lines.append(f"- torch {torch} on Python {python}: {reason}")
    return "\n".join(lines) + "\n"
