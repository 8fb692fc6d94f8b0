"""Step groups of parameters with all kinds of tensors, states, options and contexts, in two forms.

    python tests/adopt/adopt_fuzz.py [--cases N] [--seed N] [--python] [--library FILE]

A case is made from its number alone, once for the default form and once for foreach=False: both must give the same
numbers, or the same kind of error. `nox -s sanitize` runs thousands of cases with a library built with sanitizers.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import sys
import warnings
from pathlib import Path

import torch
from odd_tensors import ANY, GRADIENT

from shim.adopt import adopt, native, tensor_impl

SHAPES = (*[(), (0,), (1,), (7,), (3, 4), (2, 3, 2), (1, 5), (0, 3), (4000,)] * 3, (40000,))
DTYPES = (*[torch.float32] * 6, *[torch.float64] * 3, *[torch.bfloat16] * 3, torch.float16, torch.complex64)
DTYPES += (torch.complex128,)
try:
    torch.ones(1, dtype=torch.float16).sqrt()
    NO_ROOT = ()
except RuntimeError:
    NO_ROOT = (torch.float16,)  # on the CPU, up to torch 2.0
STEPS = (0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 7.0, -1.0, float("nan"), 0.5)


def freed(tensor):
    tensor.untyped_storage().resize_(0)


def shortened(tensor):
    tensor.untyped_storage().resize_(tensor.untyped_storage().nbytes() // 2)


class Case:
    """All inputs of one step."""

    def __init__(self, number):
        draw = self.draw = random.Random(number)
        torch.manual_seed(number)
        self.kept = []  # tensors that share memory with a lazy clone, each with the value that it must keep
        self.faults = 0  # the number of faults; with two, the form decides which one is found first
        self.broken = []  # tensors on which torch's own operations would end the process
        self.lists = [[], [], [], [], [], []]
        calm = draw.random() < 0.3
        count = draw.choice((1, 2, 3, 6))
        dtype = draw.choice(DTYPES)
        for _ in range(count):
            self.add(draw.choice(DTYPES) if draw.random() < 0.3 else dtype, calm)
        self.options = self.choose_options()
        if not calm:
            self.tamper()
        self.clip = None if self.broken else draw.choice((None,) * 6 + CLIPS)
        if self.clip:
            self.options["clip_lambda"] = self.clip(self)
            self.options["clip_exp"] = None
        self.around = draw.choice((nowhere,) * 8 + SURROUNDINGS)

    def add(self, dtype, calm):
        draw, shape = self.draw, self.draw.choice(SHAPES)
        rounding = draw.choice(("compensated", "compensated", "stochastic", "nearest"))
        low = dtype in (torch.bfloat16, torch.float16)
        self.faults += dtype in NO_ROOT
        wide = torch.float32 if low and rounding != "nearest" else dtype
        row = [torch.randn(shape, dtype=torch.float64).to(dtype) for _ in range(2)]
        row += [torch.randn(shape, dtype=torch.float64).to(wide), torch.rand(shape, dtype=torch.float64).to(wide)]
        row.append(torch.tensor(2.0 if calm else draw.choice(STEPS)))
        row.append(torch.zeros(shape) if low and rounding == "compensated" else None)
        if not calm:
            for k, tensor in enumerate(row):
                if tensor is not None and draw.random() < 0.08:
                    row[k] = draw.choice(ANY + GRADIENT * (k == 1))(tensor, self.kept)
                    self.faults += 1
            if draw.random() < 0.04:
                tensor = draw.choice([t for t in row if type(t) is torch.Tensor] or [None])
                if tensor is not None and tensor.device.type == "cpu" and not tensor.is_sparse and tensor.numel():
                    with contextlib.suppress(RuntimeError, NotImplementedError):  # its memory cannot be freed
                        draw.choice((freed, shortened))(tensor)
                        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
                        end = (tensor.storage_offset() + last + 1) * tensor.element_size()
                        if tensor.untyped_storage().nbytes() < end:
                            self.broken.append(tensor)
        for column, tensor in zip(self.lists, row):
            column.append(tensor)

    def choose_options(self):
        draw = self.draw
        lr = draw.choice((0.1, 0.1, 0.1, 0.0, 1, torch.tensor(0.1), torch.tensor(0.0)))
        return {
            "beta1": draw.choice((0.9, 0.0, 0.5)),
            "beta2": draw.choice((0.9999, 0.9, 0.0)),
            "lr": lr,
            "clip_exp": draw.choice((0.25, 0.25, None, 0, 0.5)),
            "clip_lambda": None,
            "weight_decay": draw.choice((0.0, 0.1)),
            "decouple": draw.random() < 0.5,
            "eps": draw.choice((1e-6, 1e-2)),
            "maximize": draw.random() < 0.3,
            "grad_scale": torch.tensor(4.0) if draw.random() < 0.1 else None,
            "has_complex": True,
        }

    def tamper(self):
        """Change the lists as a program might."""
        draw, count = self.draw, len(self.lists[0])
        if draw.random() < 0.15:  # share a tensor, or its memory
            k, source = draw.randrange(6), draw.randrange(6)
            i, j = draw.randrange(count), draw.randrange(count)
            other = self.lists[source][j]
            if type(other) is torch.Tensor and other.dim() and draw.random() < 0.5:
                with contextlib.suppress(RuntimeError, NotImplementedError, IndexError):
                    other = other[:0] if draw.random() < 0.2 else other.view_as(other)
            self.lists[k][i] = other
            self.faults += 1
        if draw.random() < 0.05:
            del self.lists[draw.randrange(6)][draw.randrange(count) :]
            self.faults += 1
        if draw.random() < 0.05:
            k = draw.randrange(5)
            self.lists[k] = tuple(self.lists[k])

    def step(self, **form):
        """Make the step; return its error or None."""
        *lists, compensations = self.lists
        try:
            with torch.no_grad(), self.around(self):
                adopt(*lists, compensations=compensations, **self.options, **form)
        except Exception as error:
            return error
        return None

    def values(self):
        """Return the values that the step has written."""
        columns = [self.lists[k] for k in (0, 2, 3, 4, 5)]
        return [value_of(tensor) for column in columns for tensor in column]


def value_of(tensor):
    if not isinstance(tensor, torch.Tensor) or tensor.device.type == "meta":
        return None
    if torch._is_functional_tensor(tensor):
        torch._sync(tensor)
        tensor = torch._from_functional_tensor(tensor)
    try:
        tensor = tensor.detach().as_subclass(torch.Tensor).clone().resolve_neg().resolve_conj()
    except RuntimeError:  # the tensor belongs to a transform that has ended
        return None
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


# Clips: what code of the program may do in the middle of a step.
def that_is_good(case):
    return lambda step: 0.5


def that_raises(case):
    def clip(step):
        raise KeyError(step)

    return clip


def that_is_no_number(case):
    value = case.draw.choice((None, float("nan"), torch.tensor(0.5), -1.0, "1", 0, float("inf")))
    return lambda step: value


def that_swaps_data(case):
    def clip(step):
        for tensor in case.lists[case.draw.randrange(5)]:
            with contextlib.suppress(Exception):
                if not torch._is_functional_tensor(tensor):  # torch itself crashes on these
                    tensor.data = torch.zeros(2)
        return 0.5

    return clip


def that_empties_the_lists(case):
    def clip(step):
        for column in case.lists:
            with contextlib.suppress(TypeError):  # a tuple
                del column[:]
        return 0.5

    return clip


def that_replaces_tensors(case):
    def clip(step):
        for column in case.lists:
            for i, tensor in enumerate(column):
                with contextlib.suppress(Exception):
                    column[i] = tensor.clone()
        return 0.5

    return clip


AT_ODDS = (that_swaps_data, that_replaces_tensors, that_empties_the_lists)
CLIPS = (that_is_good, that_is_good, that_raises, that_is_no_number, *AT_ODDS)


# Contexts in which a step may run.
def nowhere(case):
    return contextlib.nullcontext()


def with_grad(case):
    return torch.enable_grad()


def in_inference(case):
    return torch.inference_mode()


@contextlib.contextmanager
def with_tangents(case):
    import torch.autograd.forward_ad as forward_ad

    with forward_ad.dual_level():
        for column in case.lists[:4]:
            for i, tensor in enumerate(column if isinstance(column, list) else ()):
                if type(tensor) is torch.Tensor and tensor.is_floating_point() and case.draw.random() < 0.5:
                    with contextlib.suppress(RuntimeError, NotImplementedError):
                        column[i] = forward_ad.make_dual(tensor, torch.ones_like(tensor))
        yield
        for k in (0, 2, 3):  # the tangents are compared with the numbers
            for tensor in list(case.lists[k]):
                if isinstance(tensor, torch.Tensor):
                    tangent = forward_ad.unpack_dual(tensor).tangent
                    case.lists[3] = [*case.lists[3], None if tangent is None else tangent.clone()]


@contextlib.contextmanager
def watched(case):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with Watch():
        yield


SURROUNDINGS = (with_grad, in_inference, with_tangents, watched)


def same(one, other):
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return (one is None) == (other is None) and one is None
    tolerance = {torch.float64: 1e-9, torch.float32: 2e-4}.get(one.dtype, 2e-2)
    one, other = one.double(), other.double()
    if not torch.equal(one.isnan(), other.isnan()):
        return False
    scale = other.abs().clamp(min=1.0)
    difference = torch.where(one == other, torch.zeros_like(one), (one - other).abs() / scale)
    return bool((difference.nan_to_num(nan=0.0, posinf=1.0) <= tolerance).all())


def kind_of(error):
    """Return the class of an error, without differences between the forms.

    An object that is no tensor is found by its type in one form, and by its attributes in another.
    """
    kinds = {NotImplementedError: RuntimeError, AttributeError: TypeError}
    return kinds.get(type(error), type(error))


def run(number):
    """Run a case in the default form and with foreach=False; return the difference, or nothing."""
    case, other = Case(number), Case(number)
    if case.broken:
        count = len(case.lists[0])
        used = any(tensor is t for tensor in case.broken for column in case.lists for t in column[:count])
        return "" if case.step() or not used else "freed memory raised no error"
    error, expected = case.step(), other.step(foreach=False)
    if case.clip in AT_ODDS:  # the form decides when the clip is called
        return ""
    if error and expected and case.faults + (case.clip is not None) > 1:
        return ""
    if kind_of(error) is not kind_of(expected):
        return f"{error!r} here, {expected!r} with foreach=False"
    for base, value in (*case.kept, *other.kept):
        if not same(base, value):
            return "a lazy clone was written through"
    if error is None:
        for k, (one, two) in enumerate(zip(case.values(), other.values())):
            if not same(one, two):
                return f"value {k}: {one} here, {two} with foreach=False"
    return ""


def go_beyond():
    """Make the kernel write beyond a tensor, which a library with sanitizers must detect."""
    from array import array

    tensors, count = [torch.ones(10) for _ in range(4)], torch.tensor(2.0)
    table = array("q", [12, *(t.data_ptr() for t in tensors), 0, count.data_ptr()])
    options = native._options(
        None, beta1=0.9, beta2=0.9, lr=0.1, clip_exp=None, weight_decay=0.0, decouple=False, eps=1e-6, maximize=False
    )
    python = native.ctypes.byref(native._python)
    native._kernel(0, 1, table.buffer_info()[0], options.buffer_info()[0], None, 1, None, None, python)


def no_description(**_):
    raise LookupError


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", help="a build of native.c to use in place of the installed one")
    parser.add_argument("--python", action="store_true", help="have Python inspect the tensors, as before torch 2.0")
    parser.add_argument("--no-exchange", action="store_true", help="do without DLPack's, as before torch 2.10")
    parser.add_argument("--exchange", action="store_true", help="have DLPack's describe all tensors")
    parser.add_argument("--beyond", action="store_true", help="write where no tensor is, which sanitizers must see")
    parser.add_argument("--last", metavar="FILE", help="write the number of each case before it runs")
    options = parser.parse_args()
    if options.library:
        native.LIBRARY = Path(options.library)
        native._kernel, native._missing = native._load()
    if options.no_exchange and hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        del torch.Tensor.__dlpack_c_exchange_api__
    if options.exchange:
        tensor_impl.description_offsets = no_description
    native._inspects, native._python = native._load_python()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    if options.python:
        native._inspects = False
    print(f"torch {torch.__version__}, {native.in_words()}, inspected in C: {native._inspects}")
    if options.beyond:
        go_beyond()
        return
    wrong = 0
    for number in range(options.seed, options.seed + options.cases):
        if options.last:
            Path(options.last).write_text(str(number))
        problem = run(number)
        if problem:
            wrong += 1
            print(f"case {number}: {problem}"[:1000], flush=True)
    print(f"{options.cases} cases, {wrong} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
