"""A generated function has the parameters of the original, and no name in it can collide with the guard's own."""

from __future__ import annotations

import copy
import dis
import functools
import inspect
import linecache
import operator
import pickle
import re
import traceback
import zlib

import pytest
import torch

import shim
from shim import lookalike as lookalike_module
from shim import precompiled
from shim.lookalike import lookalike
from shim.wrapping import wrap_like


class Odd:
    """Methods with every kind of parameters, whose names a guard might use itself."""

    def plain(self, a, b=[], *, c, d={}, **others):  # noqa: B006  # the test compares these objects by identity
        return [a, b, c, d, others]

    def packed(*args, **kwargs):
        return [args, kwargs]

    def varargs(self, a, b=1, *rest, c=2):
        return [a, b, rest, c]

    def ours(self, _shim_original, original=3, *, _shim_how=4, __shim_how=5, args=6, kwargs=7, written=8):
        return [_shim_original, original, _shim_how, args, kwargs, written]

    def unicode(self, größe, ﬁ=1):
        return [größe, ﬁ]

    exec("def positional_only(self, a, b=1, /, c=2, *args): return [a, b, c, args]")

    def annotated(self, a: int, b: str = "b") -> list:
        """Return both."""
        return [a, b]

    @functools.wraps(annotated)
    def decorated(self, *args, **kwargs):
        return Odd.annotated(self, *args, **kwargs)

    def same_name_as_its_own(self, same_name_as_its_own, lookalike=1):
        return [same_name_as_its_own, lookalike]


CALLS = {
    "plain": [((1,), {"c": 2}), ((1, 2), {"c": 3, "d": 4, "e": 5}), ((), {"a": 1, "c": 2}), ((1,), {})],
    "packed": [((), {}), ((1, 2), {"c": 3})],
    "varargs": [((1,), {}), ((1, 2, 3, 4), {"c": 5}), ((), {})],
    "ours": [((1,), {}), ((1, 2), {"_shim_how": 3, "args": 4, "kwargs": 5, "written": 6}), ((), {"original": 2})],
    "unicode": [((1,), {}), ((), {"größe": 2, "fi": 3})],
    "positional_only": [((1,), {}), ((1, 2, 3, 4), {}), ((1,), {"b": 2})],
    "annotated": [((1,), {}), ((), {"a": 1, "b": 2}), ((1,), {"z": 2})],
    "decorated": [((1,), {}), ((), {"a": 1, "b": 2})],
    "same_name_as_its_own": [((1, 2), {})],
}


def result(function, args, kwargs):
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return str(error)


def looks(function):
    code = function.__code__
    return [
        inspect.getfullargspec(function),
        inspect.signature(function),
        inspect.signature(function, follow_wrapped=False),
        inspect.getargs(code),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_name],
        getattr(code, "co_qualname", None),
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
        [function.__name__, function.__qualname__, function.__module__, function.__doc__],
    ]


@pytest.mark.parametrize("name", CALLS)
def test_a_lookalike_takes_returns_and_shows_the_same_as_the_original(name):
    original, seen = vars(Odd)[name], []
    written = lookalike(original, "{saw}({first})\n", {"saw": seen.append})
    assert looks(written) == looks(original)
    assert written.__defaults__ is original.__defaults__
    assert written.__kwdefaults__ is original.__kwdefaults__
    assert written.__annotations__ == original.__annotations__
    odd = Odd()
    for args, kwargs in CALLS[name]:
        assert result(written.__get__(odd), args, kwargs) == result(original.__get__(odd), args, kwargs)
    assert seen and all(each is odd for each in seen)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_wrapper_passes_on_its_arguments(name, exact):
    original, seen = vars(Odd)[name], []

    def how(wrapped, instance, args, kwargs):
        seen.append((wrapped.__func__, instance, args, kwargs))
        return wrapped(*args, **kwargs)

    on = [True]
    written, odd = wrap_like(original, how, lambda: on[0], method=True, exact=exact), Odd()
    for args, kwargs in CALLS[name]:
        expected = result(original.__get__(odd), args, kwargs)
        assert result(written.__get__(odd), args, kwargs) == expected
        if not exact:
            assert seen[-1] == (original, odd, args, kwargs)
    assert seen
    on[0] = False
    calls = len(seen)
    assert result(written.__get__(odd), *CALLS[name][0]) == result(original.__get__(odd), *CALLS[name][0])
    assert len(seen) == calls
    if exact:
        assert looks(written) == looks(original)
    else:
        assert looks(written)[1] == looks(original)[1]
        assert str(inspect.getfullargspec(written)) == str(inspect.getfullargspec(original)) or name == "decorated"
        count = original.__code__.co_argcount + original.__code__.co_kwonlyargcount
        assert set(original.__code__.co_varnames[:count]) <= set(written.__code__.co_varnames)
        assert (written.__defaults__, written.__kwdefaults__) == (original.__defaults__, original.__kwdefaults__)


def test_a_wrapper_of_a_plain_function_gets_no_instance():
    def add(a, b=2):
        return a + b

    for exact in (False, True):
        seen = []
        written = wrap_like(add, lambda *call: seen.append(call) or 5, lambda: True, method=False, exact=exact)
        assert written(1) == 5
        assert seen == [(add, None, (1, 2) if exact else (1,), {})]


def test_a_callable_without_code_gets_all_arguments_and_keeps_its_signature():
    seen = []
    written = lookalike(operator.add, "{saw}({args}, {kwargs})\n", {"saw": lambda *call: seen.append(call)})
    assert written(2, 3) == 5
    assert seen == [((2, 3), {})]
    assert str(inspect.signature(written)) == str(inspect.signature(operator.add))


def test_generated_source_is_shown_in_tracebacks():
    def fails(argument):
        raise ValueError(argument)

    with pytest.raises(ValueError, match="3") as caught:
        lookalike(fails, "", {})(3)
    frame = traceback.extract_tb(caught.value.__traceback__)[-2]
    assert frame.line == "return _shim_original(argument)"
    assert frame.name == "fails"
    linecache.checkcache()
    assert linecache.getline(frame.filename, frame.lineno).strip() == frame.line


def test_two_functions_of_one_name_have_their_own_source():
    def make(parameters):
        made = {}
        exec(f"def same({parameters}): raise ValueError", made)
        return made["same"]

    files = [lookalike(make(parameters), "", {}).__code__.co_filename for parameters in ("a", "b", "a")]
    assert [linecache.getlines(file)[1].strip() for file in files] == ["def same(a):", "def same(b):", "def same(a):"]


def test_the_precompiled_functions_are_those_that_their_texts_define():
    texts = re.findall(r"^def written_(\w+)(\(.*?^    return guard\n)", inspect.getsource(precompiled), re.M | re.S)
    assert len(texts) == len(precompiled.PRECOMPILED) > 20
    for key, rest in texts:
        assert zlib.crc32(f"def written{rest}".encode()) == int(key, 16)
        assert precompiled.PRECOMPILED[int(key, 16)].__name__ == f"written_{key}"


def test_a_precompiled_guard_is_the_one_that_would_be_compiled(monkeypatch):
    def init(self, params, lr=0.1, weight_decay=0, *, foreach=None):
        raise ValueError(weight_decay)

    guard = "if weight_decay is None:\n    weight_decay = {value}({first})\n"
    compiled = lookalike(init, guard, {"value": lambda _: 0.5})
    (text,) = [text for text in lookalike_module._defined if "params, lr, weight_decay, *, foreach)" in text]
    made = {}
    exec(compile(f"\n\n\n{text}", "precompiled.py", "exec", dont_inherit=True), made)
    monkeypatch.setitem(precompiled.PRECOMPILED, zlib.crc32(text.encode()), made["written"])
    monkeypatch.delitem(lookalike_module._defined, text)
    ready = lookalike(init, guard, {"value": lambda _: 0.5})
    assert text not in lookalike_module._defined
    assert ready.__code__ == compiled.__code__
    assert [*dis.findlinestarts(ready.__code__)] == [*dis.findlinestarts(compiled.__code__)]
    for function in (compiled, ready):
        assert function.__globals__ is compiled.__globals__
        with pytest.raises(ValueError, match="0.5") as caught:
            function(None, None, weight_decay=None)
        frame = traceback.extract_tb(caught.value.__traceback__)[-2]
        assert frame.line == "return _shim_by_position(self, params, lr, weight_decay, foreach)"


@pytest.mark.skipif(
    torch.__version__.split("+")[0] not in precompiled.__doc__,
    reason="for the releases of torch that precompiled.py names",
)
def test_no_guard_of_a_new_release_is_compiled_when_torch_arrives(python):
    code = (
        "import torch, shim.lookalike\nprint(torch.optim.Adam.__init__.__code__.co_filename, shim.lookalike._defined)"
    )
    assert python(code).stdout == "<shim: around torch.optim.adam.Adam.__init__, importlib._bootstrap> {}\n"


class Guarded(torch.optim.Optimizer):
    """An optimizer with every kind of parameters."""

    def __init__(self, params, lr=0.1, weight_decay=0.3, *, original=None, **others):
        super().__init__(params, {"lr": lr, "weight_decay": 0.0 + weight_decay})

    def step(self, closure=None, *, group=None):
        for each in self.param_groups:
            for parameter in each["params"]:
                parameter.data.mul_(1 - each["weight_decay"])
        return closure and closure()


def test_shim_guard_keeps_the_signatures_of_a_class():
    before = [looks(Guarded.__init__), looks(Guarded.step)]
    init = Guarded.__init__
    try:
        shim.guard(Guarded)
        assert Guarded.__init__ is not init
        assert [looks(Guarded.__init__), looks(Guarded.step)] == before
        with pytest.warns(shim.NoneWeightDecayWarning):
            optimizer = Guarded([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
        optimizer.param_groups[0]["weight_decay"] = None
        with pytest.warns(shim.NoneWeightDecayWarning):
            assert optimizer.step(lambda: 3, group=4) == 3
        assert optimizer.param_groups[0]["weight_decay"] == 0.0
    finally:
        shim.deactivate()
    assert Guarded.__init__ is init


def test_a_default_of_none_is_left_to_the_optimizer(recwarn):
    class Own(torch.optim.SGD):
        def __init__(self, params, weight_decay=None):
            super().__init__(params, lr=0.1, weight_decay=0.1 if weight_decay is None else weight_decay)

    try:
        shim.guard(Own)
        assert Own([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["weight_decay"] == 0.1
        assert not recwarn.list
    finally:
        shim.deactivate()


class TestOptionalPatches:
    @pytest.fixture(autouse=True)
    def active(self):
        before = [looks(function) for function in self.functions()]
        shim.activate("numbers", "resume")
        yield before
        shim.deactivate()

    @staticmethod
    def functions():
        optimizer = torch.optim.Optimizer
        return [
            torch.optim.Adam.__init__,
            torch.optim.SGD.__init__,
            optimizer.load_state_dict,
            optimizer.add_param_group,
        ]

    def test_functions_that_optional_patches_wrap_look_the_same(self, active):
        assert [looks(function) for function in self.functions()] == active

    @pytest.mark.parametrize("name", ["load_state_dict", "add_param_group"])
    @pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda value: pickle.loads(pickle.dumps(value))])
    def test_functions_that_optional_patches_wrap_can_be_copied_and_pickled(self, name, copied):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr="1e-1", momentum=0.5)
        method = copied(getattr(optimizer, name))
        assert method.__self__.param_groups[0]["lr"] == 0.1
        if name == "load_state_dict":
            method(optimizer.state_dict())
        else:
            method({"params": [torch.nn.Parameter(torch.ones(1))], "lr": "2e-1"})
            assert method.__self__.param_groups[1]["lr"] == 0.2
        function = getattr(torch.optim.Optimizer, name)
        assert copied(function) is function
