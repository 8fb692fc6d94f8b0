"""Division and torch.full work as in older releases for the program, and as today for torch's own code."""

from __future__ import annotations

import operator

import pytest
import torch

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers


@pytest.fixture
def written_for():
    yield lambda text: shim.activate(written_for=text)
    shim.deactivate()


X = torch.tensor([7, -7, 5])


def alias_after_floor_divide(x):
    alias = x
    x //= 2
    return alias


#: Each with the output of torch 1.4.0.
@pytest.mark.skipif(HERE < (1, 8, 0), reason="the list does not contain the features of torch 1.5 to 1.7")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "call, expected",
    [
        (lambda: X / 2, "tensor([ 3, -3,  2])"),
        (lambda: X / 2.0, "tensor([ 3.5000, -3.5000,  2.5000])"),
        (lambda: X / torch.tensor([2, 2, 0.5]), "tensor([ 3.5000, -3.5000, 10.0000])"),
        (lambda: 7 / X, "tensor([ 1, -1,  1])"),
        (lambda: 7.5 / X, "tensor([ 1, -1,  1])"),
        (lambda: 1 / torch.tensor([4.0]), "tensor([0.2500])"),
        (lambda: X.clone().div_(X), "tensor([1, 1, 1])"),
        (lambda: torch.div(X, other=2), "tensor([ 3, -3,  2])"),
        (lambda: torch.div(X, 2, out=torch.zeros(3, dtype=torch.long)), "tensor([ 3, -3,  2])"),
        (lambda: X // 2, "tensor([ 3, -3,  2])"),
        (lambda: 7 // X, "tensor([ 1, -1,  1])"),
        (lambda: X.float() // 2, "tensor([ 3., -3.,  2.])"),
        (lambda: torch.tensor([-7.5]) // 2, "tensor([-3.])"),
        (lambda: torch.tensor(7) / 2, "tensor(3)"),
        (lambda: torch.tensor([200], dtype=torch.uint8) / 3, "tensor([66], dtype=torch.uint8)"),
        (lambda: 7.5 // X, "tensor([ 1, -1,  1])"),
        (lambda: -7.5 // X, "tensor([-1,  1, -1])"),
        (lambda: 700 // torch.tensor([200, 3], dtype=torch.uint8), "tensor([  3, 233], dtype=torch.uint8)"),
        (lambda: 7.5 // X.float(), "tensor([ 1., -1.,  1.])"),
        (lambda: operator.ifloordiv(X.clone(), 2.5), "tensor([ 2., -2.,  2.])"),
        (lambda: operator.ifloordiv(X.clone(), X.float()), "tensor([1., 1., 1.])"),
        (lambda: operator.ifloordiv(X.float(), 2), "tensor([ 3., -3.,  2.])"),
        (lambda: alias_after_floor_divide(X.clone()), "tensor([ 7, -7,  5])"),
        (lambda: X**2.0, "tensor([49, 49, 25])"),
        (lambda: torch.pow(input=X, exponent=0.0), "tensor([1, 1, 1])"),
        (lambda: torch.remainder(input=X, other=2.5), "tensor([1, 1, 1])"),
        (lambda: X.remainder(-2.5), "tensor([-1, -1, -1])"),
        (lambda: X.fmod(2.5), "tensor([ 1, -1,  1])"),
        (lambda: X.abs().byte() % 2.5, "tensor([1, 1, 1], dtype=torch.uint8)"),
        (lambda: X.float() % 2.5, "tensor([2.0000, 0.5000, 0.0000])"),
        (lambda: X.abs() ** 2.5, "tensor([129, 129,  55])"),
        (lambda: torch.pow(X.abs(), 0.5), "tensor([2, 2, 2])"),
        (lambda: X.abs() ** -1.0, "tensor([0, 0, 0])"),
        (lambda: torch.tensor([9, 3], dtype=torch.uint8) ** 2.5, "tensor([243,  15], dtype=torch.uint8)"),
        (lambda: X.abs().pow_(1.9), "tensor([40, 40, 21])"),
        (lambda: 2.5 ** X.abs(), "tensor([128, 128,  32])"),
        (lambda: 2 ** X.abs(), "tensor([128, 128,  32])"),
        (lambda: X.float() ** 2.0, "tensor([49., 49., 25.])"),
        (lambda: torch.full((2,), 1), "tensor([1., 1.])"),
        (lambda: torch.full((2,), True), "tensor([1., 1.])"),
        (lambda: torch.full((2,), 1, dtype=torch.long), "tensor([1, 1])"),
    ],
)
def test_division_and_full_are_as_in_1_4(written_for, call, expected):
    written_for("1.4")
    assert repr(call()) == expected


@pytest.mark.skipif(HERE < (1, 13, 0), reason="the same without shim up to 1.12")
class TestFloor:
    @pytest.mark.parametrize(
        "call, expected",
        [
            (lambda: torch.tensor(-7) // 2, "tensor(-3)"),
            (lambda: torch.floor_divide(X, 2), "tensor([ 3, -3,  2])"),
            (lambda: X.clone().floor_divide_(2), "tensor([ 3, -3,  2])"),
            (lambda: 7.5 // X, "tensor([ 1., -1.,  1.])"),
            (lambda: X.clone().__ifloordiv__(2), "tensor([ 3, -3,  2])"),
        ],
    )
    def test_floor_division_is_as_in_1_7(self, written_for, call, expected):
        written_for("1.7")
        assert repr(call()) == expected

    def test_true_division_is_as_in_1_7(self, written_for):
        written_for("1.7")
        assert repr(X / 2) == "tensor([ 3.5000, -3.5000,  2.5000])"


@pytest.mark.skipif(HERE < (1, 13, 0), reason="this torch divides as older releases do")
def test_the_code_of_torch_divides_as_today(written_for):
    written_for("1.4")
    own = dict(vars(torch.functional), X=X)
    for what, expected in {"X / 2": 3.5, "X // -2": -4, "torch.full((2,), 1).dtype": torch.int64}.items():
        found = eval(what, own)
        assert (found[0].item() if isinstance(found, torch.Tensor) else found) == expected
    assert (X / 2)[0].item() == 3


def test_a_program_of_today_divides_as_today(written_for):
    before = repr([X / 2, X // 2, 7 / X, torch.full((2,), 1.0)])
    written_for(".".join(map(str, HERE[:2])))
    assert repr([X / 2, X // 2, 7 / X, torch.full((2,), 1.0)]) == before


@pytest.mark.skipif(HERE < (2, 0, 0), reason="torch.compile came with torch 2.0")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_code_divides_like_the_program(python, tmp_path, backend):
    script = tmp_path / "program.py"
    script.write_text(f"""
import torch

def results(x):
    halves = x / 2
    return halves, x // 2, x.div(2), torch.full((2,), 1), halves.dtype == torch.int64

x = torch.tensor([-7, 7])
for plain, compiled in zip(results(x), torch.compile(results, backend={backend!r})(x)):
    print(plain, compiled)
    assert str(plain) == str(compiled)
""")
    result = python(["-W", "ignore", script], env={"SHIM_FOR": "1.4"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tensor([-3,  3]) tensor([-3,  3])" in result.stdout
