# ruff: noqa: E402, E501 - importorskip comes first, and generators keep a template on one line
"""Properties of generated files in every format, and a fuzz test."""

from __future__ import annotations

import ast
import json
import math
import runpy
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import pytest

pytest.importorskip("hypothesis")
yaml = pytest.importorskip("yaml")
tomlkit = pytest.importorskip("tomlkit")

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shim.configs.command import Task, check
from shim.configs.formats import toml as our_toml
from shim.configs.tree import NUMBER, OTHER, TEXT, Mapping, Node, ParseError, Scalar

# A file is made from drawn pieces. WD is the place of the value, which is drawn, too.
WD = "\0"
RUN = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Cn", "Co"), blacklist_characters="\x85\ufeff\u2028\u2029"),
    max_size=8,
)
keys = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(
    lambda k: k not in ("wd", "null", "true", "on", "off", "yes", "no", "y", "n", "lr", "opt", "optim")
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
)
data = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
values = st.floats(0.0, 1e6, allow_nan=False, allow_infinity=False)
ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def flows(draw: Any, comments: bool = False) -> str:
    """Draw a JSON text with unusual white space, in which the optimizer's weight decay is WD."""
    space = st.sampled_from(["", " ", "\t", "\n", "\r\n  "] + (["/* , } */", "// ~\n"] if comments else []))

    def text(value: Any) -> str:
        if value is WD:
            return WD
        if isinstance(value, dict):
            inner = [
                f"{draw(space)}{json.dumps(k, ensure_ascii=draw(st.booleans()))}{draw(space)}:{draw(space)}{text(v)}{draw(space)}"
                for k, v in value.items()
            ]
            return "{" + ",".join(inner) + "}"
        if isinstance(value, list):
            return "[" + ",".join(draw(space) + text(v) for v in value) + "]"
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    before, after, beside = draw(st.tuples(*[st.dictionaries(keys, data, max_size=3)] * 3))
    return text(
        {
            **before,
            "optimizer": {**beside, "weight_decay": WD, "lr": 1},
            **{k: v for k, v in after.items() if k not in before},
        }
    )


@st.composite
def blocks(draw: Any) -> str:
    """Draw a YAML text in block and flow style, with comments and line ends of either kind."""
    end = draw(ends)
    comment = st.sampled_from(["", " # ~", "  # weight_decay: ~", " #"])
    lines: list[str] = []

    def put(value: Any, indent: str) -> None:
        for key, inner in value.items():
            shown = draw(st.sampled_from([key, f"'{key}'", f'"{key}"']))
            if isinstance(inner, dict) and inner and draw(st.booleans()):
                lines.append(f"{indent}{shown}:{draw(comment)}")
                put(inner, indent + draw(st.sampled_from([" ", "  ", "    "])))
            elif isinstance(inner, str) and inner == WD:
                lines.append(f"{indent}{shown}: {WD}{draw(comment)}")
            else:
                flow = json.dumps(inner, ensure_ascii=False).replace(json.dumps(WD, ensure_ascii=False), WD)
                lines.append(f"{indent}{shown}: {flow}{draw(comment)}")

    before, beside, after = draw(st.tuples(*[st.dictionaries(keys, data, max_size=3)] * 3))
    put(before, "")
    put({"optimizer": {"lr": 1, **beside, "weight_decay": WD}}, "")
    put({k: v for k, v in after.items() if k not in before}, "")
    return end.join(lines) + draw(st.sampled_from(["", end, end + end]))


@st.composite
def tables(draw: Any) -> str:
    """Draw a TOML text; TOML has no null."""
    end = draw(ends)
    plain = st.one_of(st.booleans(), st.integers(-(10**6), 10**6), words)

    def lines(entries: dict[str, Any]) -> list[str]:
        comment = st.sampled_from(["", " # 'None'", "\t#"])
        return [
            f"{k}{draw(st.sampled_from(['=', ' = ']))}{json.dumps(v, ensure_ascii=False)}{draw(comment)}"
            for k, v in entries.items()
        ]

    before, beside, after = draw(st.tuples(*[st.dictionaries(keys, plain, max_size=3)] * 3))
    parts = [
        *lines(before),
        "[optimizer]",
        *lines(beside),
        f"weight_decay = {WD} # c",
        "[other]",
        *lines(after),
    ]
    return end.join(parts) + draw(st.sampled_from(["", end]))


@st.composite
def modules(draw: Any) -> str:
    """Draw a Python config in mmengine's style."""
    end = draw(ends)
    before, beside = draw(st.tuples(*[st.dictionaries(keys, data, max_size=3)] * 2))
    lines = [f"x_{key} = {value!r}  # {key} = None" for key, value in before.items()]
    settings_ = "".join(f",{draw(st.sampled_from([' ', end]))}x_{key}={value!r}" for key, value in beside.items())
    lines.append(f"optim_wrapper = dict(optimizer=dict(type='AdamW'{settings_}, weight_decay={WD}))")
    return end.join(lines) + end


def read_python(text: str) -> Any:
    return {s.targets[0].id: ast.dump(s.value) for s in ast.parse(text).body if isinstance(s, ast.Assign)}  # type: ignore[attr-defined]


def strip_comments(text: str) -> Any:
    return json.loads(text.replace("/* , } */", "").replace("// ~\n", ""))


FORMATS: dict[str, tuple[Any, tuple[str, ...], Callable[[str], Any]]] = {
    "yaml": (blocks(), ("null", "~", "Null", "NULL", "", "!!null ''", "'None'", "None", "&a null", "&a"), yaml.safe_load),
    "json": (flows(), ("null", '"None"', '""'), json.loads),
    "jsonc": (flows(comments=True), ("null", '"null"'), strip_comments),
    "toml": (tables(), ("'None'", '"null"', '""', "'''None'''"), lambda t: tomlkit.parse(t).unwrap()),
    "python": (modules(), ("None", "'None'", "(None)"), read_python),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_fix_changes_only_the_value_in_bytes_and_in_meaning(name: str) -> None:
    texts, written, read = FORMATS[name]

    @RUN
    @given(texts, st.sampled_from(written), values)
    def run(text: str, old: str, value: float) -> None:
        before, after = text.split(WD)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config"
            path.write_bytes((before + old + after).encode())

            result = check(str(path), Task(value, True, False, name))
            fixed = path.read_bytes().decode()
            again = check(str(path), Task(value, True, False, name))

            assert not result.error
            assert len(result.fixed) == 1
            assert fixed.startswith(before)
            assert fixed.endswith(after)
            middle = fixed[len(before) : len(fixed) - len(after)]
            assert float(middle.replace("&a", "").strip(" ()")) == value
            expected = before + {"python": repr(value)}.get(name, "  " + json.dumps(123454321.5)) + after
            assert same(read(fixed), read(expected), value)
            assert not again.fixed
            assert path.read_bytes().decode() == fixed
            assert [p.name for p in Path(folder).iterdir()] == ["config"]

    run()


def same(a: Any, b: Any, value: float) -> bool:
    """Compare data. 123454321.5 in the second argument stands for the value."""
    if isinstance(b, dict):
        return isinstance(a, dict) and list(a) == list(b) and all(same(a[k], b[k], value) for k in b)
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(same(x, y, value) for x, y in zip(a, b))
    if b == 123454321.5 and not isinstance(b, str):
        return type(a) is float and a == value
    return type(a) is type(b) and (a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)))


SEEDS = [
    "optimizer:\n  <<: *b\n  weight_decay: &a !!null ''\n  params: [{weight_decay: *a}, {}]\n---\n- ? x\n  : |\n    y\n",
    '{"optimizer": {"params": {"weight_decay": null, "lr": 1e-3}, "x": [true, "\\u00e9\\n"]}} // c',
    "[optimizer]\nweight_decay = 'None'\n[[a.b]]\nc = {d = 1, e.f = [1, 2]}\nt = 1979-05-27T07:32:00Z\n",
    "optimizer = dict(type='AdamW', weight_decay=wd, **x)\nwd = None\na['b'].c = [f'{wd}', lambda: 0]\n",
    "wd: ${optimizer.wd}\noptimizer: {_target_: torch.optim.AdamW, weight_decay: ${..wd}, wd: ${wd}}\n",
]
PIECES = ["null", "weight_decay", "optimizer", ":", ": ", "&a ", "*a", "<<: ", "!!null ", "{", "}", "[", "]", ",", "=", "\n", "\r", "\r\n", "\t", "  ", "- ", "'", '"', "#", "//", "/*", "None", "1e-5", "\ufeff", "\u2028", "\x85", "é", "𝄞", "\0", "\x0c", "\\", "|", ">", "%", "---\n", "...\n", "${", "}", "${.a}", "dict(", ")", "?", "_target_: torch.optim.AdamW"]  # fmt: skip


@st.composite
def mutated(draw: Any) -> bytes:
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[end:]
    raw: bytes = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])))
    cut = draw(st.integers(0, len(raw)))
    return raw if draw(st.booleans()) else raw[:cut] + draw(st.binary(max_size=3)) + raw[cut:]


@pytest.mark.parametrize(("name", "libyaml"), [*((name, True) for name in FORMATS), ("yaml", False)])
def test_no_input_crashes_the_check_and_an_unparsable_file_is_not_written(
    name: str, libyaml: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)

    @settings(RUN, max_examples=200)
    @given(mutated() | st.binary(max_size=60))
    @example(b"")
    @example(b"\xff\xfe")
    @example(b"\xef\xbb\xbf")
    @example(b"&a [*a, *a]")
    @example(b"%YAML 99999999999999999999.1\n---\na")
    @example(b'"\\UFFFFFFFF"')
    @example(b"{? {weight_decay: null} : x}")
    @example(b"# -*- coding: rot13 -*-\n")
    @example(b"# -*- coding: unicode_escape -*-\n\\x")
    def run(raw: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "config"
            path.write_bytes(raw)

            result = check(str(path), Task(0.0, True, True, name))

            if result.error or not result.fixed:
                assert path.read_bytes() == raw
            else:
                again = check(str(path), Task(0.0, True, True, name))
                assert not again.error
                assert not again.fixed
            assert result.line >= 1
            assert result.column >= 1
            assert [p.name for p in Path(folder).iterdir()] == ["config"]

    run()


DEEP = 100_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yaml", "[" * DEEP),
        ("yaml", "[" * DEEP + "]" * DEEP),
        ("yaml", "- " * DEEP),
        ("yaml", "{a: " * DEEP),
        ("yaml", "".join(f"{' ' * i}a:\n" for i in range(2000))),
        ("json", "[" * DEEP + "]" * DEEP),
        ("json", '{"a":' * DEEP),
        ("toml", "a = " + "[" * DEEP + "]" * DEEP),
        ("python", "x = " + "[" * DEEP + "]" * DEEP),
        ("python", "x = " + "-" * DEEP + "1"),
        ("python", "x = " + "(" * DEEP),
        ("python", "x = a" + ".b" * DEEP),
        ("python", "x = a" + "+a" * DEEP),
    ],
    ids=lambda part: part if len(part) < 10 else part[:8] + "...",
)
def test_deep_nesting_is_an_error_and_not_a_crash(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_text(text)

    result = check(str(path), Task(0.0, True, True, name))

    assert result.error or not result.findings
    assert path.read_text() == text


def test_aliases_of_aliases_end_and_shared_values_are_not_fixed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 {weight_decay: null}"]
    lines += [f"a{i + 1}: &a{i + 1} [" + ", ".join([f"*a{i}"] * 9) + "]" for i in range(9)]
    path.write_text("\n".join([*lines, "optimizer: *a9"]))

    (finding,) = check(str(path), Task(0.0, True)).findings

    assert finding.path == "a0.weight_decay"
    assert finding.why_not


SHAPES: dict[str, Callable[[int], str]] = runpy.run_path(
    str(Path(__file__).resolve().parents[2] / "benchmarks" / "configs.py")
)["SHAPES"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_time_of_a_check_is_linear_in_the_bytes(shape: str, tmp_path: Path) -> None:
    kind = shape.partition(":")[0]
    task = Task(0.5, False, True, "python" if kind == "py" else kind)
    path = tmp_path / "config"

    def seconds(size: int) -> float:
        path.write_text(SHAPES[shape](size))
        times = []
        for _ in range(3):
            start = time.process_time()
            result = check(str(path), task)
            times.append(time.process_time() - start)
            assert result.findings
            assert not result.error
        return min(times)

    seconds(1000)
    small, large = seconds(10_000), seconds(100_000)

    # The file has ten times the bytes; with quadratic time it would take a hundred times as long.
    assert large < 25 * max(small, 0.001)


LINES = [
    "a = 1", "[a]", "[[b]]", "[a.b]", 'a.b = "x"', "c = {d = 1, e.f = [1, 2]}", "t = 1979-05-27T07:32:00Z", "u=07:32:00",
    "v = 1979-05-27 07:32:00.5+01:00", "s = '''a\n'b'''", 's2 = """x\\\n   y"""', '"q k" = true', "'l' = inf",
    "x = [ # c\n 1,\n [2], # d\n]", "n = -1_000.5e+3", "h = 0xDEAD_beef", 'e = "\\u00e9\\n\\""', "# c", "", "z = {}",
    '[x."y.z"]', "k = [{a=1},{b=2}]", "w = 01", "w = 1__0", "w = ", "= 1", "]", "w = nul", "w = 1 2", "w = '", 'w = "\\x"',
    "w = [1", "w = +0b1", "b = 1", "a.c = 1", "x.y = 2",
]  # fmt: skip


def plain(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {entry.key: plain(entry.value) for entry in node.entries}
    return [plain(item) for item in node.items] if not isinstance(node, Scalar) else node


def alike(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and set(ours) == set(theirs) and all(alike(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(theirs, str):
        return isinstance(ours, Scalar) and (ours.kind, ours.value) == (TEXT, theirs)
    number = isinstance(theirs, (int, float)) and not isinstance(theirs, bool)
    return isinstance(ours, Scalar) and ours.kind == (NUMBER if number else OTHER)


def test_toml_is_read_as_another_reader_reads_it() -> None:
    tomllib = pytest.importorskip("tomllib", reason="tomllib exists since Python 3.11")

    @settings(RUN, max_examples=1500)
    @given(st.lists(st.sampled_from(LINES), max_size=5), ends)
    def run(lines: list[str], end: str) -> None:
        text = "".join(line + end for line in lines)
        try:
            theirs = tomllib.loads(text)
        except ValueError:
            with pytest.raises(ParseError):
                our_toml.parse(text)
            return
        (document,) = our_toml.parse(text)
        assert alike(plain(document), theirs)

    run()
