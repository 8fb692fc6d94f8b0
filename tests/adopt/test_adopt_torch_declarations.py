"""ADOPT passes the checks that torch runs on Adam, generated from a declaration like torch's own.

The wheel contains the declarations (torch.testing._internal.common_optimizers, since 2.3) and not the checks. The
checks below correspond to those of torch's test_optim.py with similar names. Each check also runs on torch's own entry
for Adam, which shows that Adam passes it.
"""

import copy
import inspect
import io
import warnings

import pytest
import torch

from shim.adopt import ADOPT, native

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch itself uses deprecated functions
    declarations = pytest.importorskip(
        "torch.testing._internal.common_optimizers",
        reason=f"torch {torch.__version__}: no optimizer declarations, or no expecttest, which they need",
    )

FLAGS = ("foreach", "differentiable", "fused")


def adopt_inputs(device, dtype=None):
    def entry(desc, **kwargs):
        return declarations.OptimizerInput(params=None, kwargs=kwargs, desc=desc)

    capturable = [
        entry("capturable", weight_decay=0.1, capturable=True),
        entry("Tensor lr with capturable", lr=torch.tensor(0.001), capturable=True),
    ]
    return [
        entry("default"),
        entry("non-default lr", lr=0.01),
        entry("nonzero weight_decay", weight_decay=0.1),
        entry("decoupled weight_decay", weight_decay=0.1, decouple=True),
        entry("maximize", weight_decay=0.1, maximize=True),
        entry("no clip", clip_exp=None),
    ] + (capturable if str(device).startswith("cuda") else [])


def adopt_errors(device, dtype):
    def entry(error, regex, **kwargs):
        given = declarations.OptimizerInput(params=None, kwargs=kwargs, desc=regex)
        return declarations.ErrorOptimizerInput(given, error_type=error, error_regex=regex)

    return [
        *declarations.get_error_inputs_for_all_optims(device, dtype),
        entry(ValueError, "Invalid beta parameter at index 0: 1.0", lr=1e-2, betas=(1.0, 0.0)),
        entry(ValueError, "Invalid weight_decay value: -1", lr=1e-2, weight_decay=-1),
        entry(ValueError, "lr as a Tensor is not supported", lr=torch.tensor(0.001), foreach=True),
    ]


DECLARED = {
    "optim_inputs_func": adopt_inputs,
    "optim_error_inputs_func": adopt_errors,
    "supported_impls": FLAGS,
    "has_capturable_arg": True,
    "not_og_supported_flags": ("foreach", "differentiable", "maximize", "capturable"),
}
# Newer releases declare more.
KNOWN = inspect.signature(declarations.OptimizerInfo.__init__).parameters
ADOPT_INFO = declarations.OptimizerInfo(ADOPT, **{name: value for name, value in DECLARED.items() if name in KNOWN})
ADAM_INFO = next(info for info in declarations.optim_db if info.optim_cls is torch.optim.Adam)
SCHEDULERS = getattr(ADOPT_INFO, "scheduler_inputs", ())  # since 2.4
ADAM_FUSES_ON_CPU = "cpu" in getattr(ADAM_INFO, "supports_fused_on", ())  # since 2.4
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def cases(flag_values=({},)):
    return [
        pytest.param(info.optim_cls, {**given.kwargs, **flags}, device, id=f"{info.name}-{given.desc}-{flags}-{device}")
        for info in (ADAM_INFO, ADOPT_INFO)
        for device in DEVICES
        for given in info.optim_inputs_func(device=device)
        for flags in flag_values
        if info is ADOPT_INFO or ADAM_FUSES_ON_CPU or not flags.get("fused")
    ]


def each_config(check):
    forms = [{"foreach": False}, {"foreach": True}] + [{"fused": True}] * (not native.why_not())
    return pytest.mark.parametrize("kind, kwargs, device", cases(forms))(check)


def each_input(check):
    return pytest.mark.parametrize("kind, kwargs, device", cases())(check)


def skip_tensor_lr(kwargs):
    if isinstance(kwargs.get("lr"), torch.Tensor) and kwargs.get("foreach") and not kwargs.get("capturable"):
        pytest.skip("the declaration says that this is refused")


def comparable(optimizer):
    """Return the state without the entries that assert_close cannot compare."""
    state = optimizer.state_dict()
    groups = [{key: value for key, value in group.items() if key != "rounding"} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


class Problem:
    """A regression whose parameters, seeds and device are the same each time."""

    def __init__(self, kind, kwargs, device="cpu", dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        self.weight = self.tensor(generator, 10, 5, device=device, dtype=dtype).requires_grad_()
        self.bias = self.tensor(generator, 10, device=device, dtype=dtype).requires_grad_()
        self.input = self.tensor(generator, 5, device=device, dtype=dtype)
        self.params = [self.weight, self.bias]
        self.optimizer = kind(self.params, **copy.deepcopy(kwargs))

    @staticmethod
    def tensor(generator, *shape, device, dtype):
        return torch.randn(*shape, generator=generator).to(device=device, dtype=dtype)

    def loss(self):
        self.optimizer.zero_grad()
        loss = (self.weight.mv(self.input) + self.bias).pow(2).sum()
        loss.backward()
        return loss

    def run(self, steps):
        for _ in range(steps):
            self.optimizer.step(self.loss)
        return self


@pytest.mark.parametrize("info", [ADAM_INFO, ADOPT_INFO], ids=lambda info: info.name)
def test_what_adam_refuses_is_refused_with_the_same_error(info):
    for given in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        params = given.optimizer_error_input.params
        params = [torch.nn.Parameter(torch.ones(1))] if params is None else params
        if given.error_on == declarations.OptimizerErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(given.error_type, match=given.error_regex):
                info.optim_cls(params, **given.optimizer_error_input.kwargs)


@pytest.mark.parametrize("schedulers", range(len(SCHEDULERS) + 1))
@each_config
def test_the_loss_goes_in_the_right_direction(kind, kwargs, device, schedulers):
    problem = Problem(kind, kwargs, device)
    made = [make(problem.optimizer) for make in SCHEDULERS[schedulers - 1]] if schedulers else []
    before = problem.loss().item()
    for _ in range(20):
        loss = problem.optimizer.step(problem.loss)
        for scheduler in made:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(loss.item()) if plateau else scheduler.step()
    assert (problem.loss().item() > before) == bool(kwargs.get("maximize"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@each_input
@pytest.mark.parametrize("other", [{"foreach": True}, {"fused": True}], ids=str)
def test_forloop_equals_the_other_forms(kind, kwargs, device, dtype, other):
    skip_tensor_lr({**kwargs, **other})
    if other.get("fused") and device == "cpu" and native.why_not():
        pytest.skip(f"no native kernel: {native.why_not()}")
    if other.get("fused") and dtype == torch.bfloat16 and kind is not ADOPT:
        pytest.skip("Adam's fused form rounds bfloat16 differently than its other forms")
    if other.get("fused") and kind is not ADOPT and not ADAM_FUSES_ON_CPU:
        pytest.skip("torch's own: Adam has no fused form for the CPU up to 2.3")
    one, two = (Problem(kind, {**kwargs, **f}, device, dtype).run(7) for f in ({"foreach": False}, other))
    for p, q in zip(one.params, two.params):
        torch.testing.assert_close(p, q)
        for name, value in one.optimizer.state[p].items():
            torch.testing.assert_close(value, two.optimizer.state[q][name])


@each_config
def test_complex_equals_real_pairs(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    if kwargs.get("fused") and kind is torch.optim.Adam:
        pytest.skip("torch's own fused form takes no complex parameters")
    z = torch.randn(3, 4, dtype=torch.complex64, device=device, requires_grad=True)
    x = torch.view_as_real(z).detach().clone().requires_grad_()
    optimizers = [kind([z], **kwargs), kind([x], **kwargs)]
    for _ in range(3):
        z.grad = torch.randn_like(z)
        x.grad = torch.view_as_real(z.grad).clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(torch.view_as_real(z), x)


@each_config
def test_param_groups_have_their_own_lr_and_weight_decay(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    a, b = (torch.ones(3, device=device, requires_grad=True) for _ in range(2))
    optimizer = kind([{"params": [a], "lr": 0.0}, {"params": [b], "weight_decay": 0.5}], **kwargs)
    for _ in range(3):
        a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
        optimizer.step()
    assert torch.equal(a, torch.ones_like(a)) and not torch.equal(b, torch.ones_like(b))


@pytest.mark.parametrize("gradient", ["none", "empty", "zero"])
@each_config
def test_a_step_without_gradients_is_a_no_op(kind, kwargs, device, gradient):
    skip_tensor_lr(kwargs)
    kwargs = {**kwargs, "weight_decay": 0.0}
    p = torch.ones(0 if gradient == "empty" else 3, device=device, requires_grad=True)
    optimizer = kind([p], **kwargs)
    for _ in range(3):
        p.grad = None if gradient == "none" else torch.zeros_like(p)
        optimizer.step()
    assert torch.equal(p, torch.ones_like(p))


@each_config
def test_state_dict_is_deterministic_and_left_alone(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    one, two = Problem(kind, kwargs, device).run(5), Problem(kind, kwargs, device)
    two.params[0].data.copy_(one.params[0])
    two.params[1].data.copy_(one.params[1])
    saved = copy.deepcopy(one.optimizer.state_dict())
    # A copy, because two Adams that load one state share it from then on.
    two.optimizer.load_state_dict(copy.deepcopy(saved))
    one.run(5)
    two.run(5)
    for p, q in zip(one.params, two.params):
        assert torch.equal(p, q)
    torch.testing.assert_close(comparable(one.optimizer), comparable(two.optimizer))
    assert saved["state"][0]["step"].item() == 5


@each_config
def test_older_state_dicts_load_and_training_continues_the_same(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    problem, uninterrupted = (Problem(kind, kwargs, device).run(3) for _ in range(2))
    saved = copy.deepcopy(problem.optimizer.state_dict())
    for group in saved["param_groups"]:
        for flag in DECLARED["not_og_supported_flags"]:
            group.pop(flag, None)
    problem.optimizer.load_state_dict(saved)
    for loaded, group in zip(problem.optimizer.param_groups, uninterrupted.optimizer.param_groups):
        flags = {flag: loaded[flag] for flag in DECLARED["not_og_supported_flags"] if flag in group}
        assert kind is not ADOPT or flags == {flag: group[flag] for flag in flags}
        group.update(flags)  # Adam replaces a missing flag by its default, not by the constructor's argument
    problem.run(3)
    uninterrupted.run(3)
    assert all(torch.equal(*pair) for pair in zip(problem.params, uninterrupted.params))
    torch.testing.assert_close(comparable(problem.optimizer), comparable(uninterrupted.optimizer), rtol=0, atol=0)


@each_config
def test_a_step_count_that_is_not_a_tensor_loads(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    problem = Problem(kind, kwargs, device).run(3)
    saved = copy.deepcopy(problem.optimizer.state_dict())
    for state in saved["state"].values():
        state["step"] = state["step"].item()
    problem.optimizer.load_state_dict(saved)
    problem.run(1)
    assert problem.optimizer.state[problem.weight]["step"].item() == 4


@each_config
def test_a_state_loaded_with_weights_only_is_equal(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    problem = Problem(kind, kwargs, device).run(3)
    buffer = io.BytesIO()
    torch.save(problem.optimizer.state_dict(), buffer)
    buffer.seek(0)
    loaded = Problem(kind, kwargs, device).optimizer
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    torch.testing.assert_close(comparable(loaded), comparable(problem.optimizer))


@each_input
def test_all_hooks_fire_in_order(kind, kwargs, device):
    optimizer, said = Problem(kind, kwargs, device).optimizer, []
    optimizer.register_step_pre_hook(lambda *_: said.append("step pre"))
    optimizer.register_step_post_hook(lambda *_: said.append("step post"))
    for name in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
        getattr(optimizer, f"register_{name}_hook")(lambda *_, name=name: said.append(name))
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert said == [
        *["step pre", "step post", "state_dict_pre", "state_dict_post"],
        *["load_state_dict_pre", "load_state_dict_post"],
    ]


@each_config
def test_deepcopy_copies_all_public_attributes(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    optimizer = Problem(kind, kwargs, device).run(3).optimizer
    public = {name for name in optimizer.__dict__ if not name.startswith("_")}
    assert public == {name for name in copy.deepcopy(optimizer).__dict__ if not name.startswith("_")}


@each_config
def test_the_state_is_not_empty(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    problem = Problem(kind, kwargs, device).run(1)
    for p in problem.params:
        assert len(problem.optimizer.state[p]) > 0


@each_config
def test_parameters_of_mixed_devices_and_dtypes_move_alike(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    params = [
        torch.ones(2, dtype=d, device=where).requires_grad_()
        for d in dtypes
        for where in {"cpu", device}
        if where == device or not kwargs.get("capturable")
    ]
    optimizer = kind(params, **{**kwargs, "lr": 0.01, "eps": 1e-3})
    for _ in range(5):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    for p in params:
        torch.testing.assert_close(p.double().cpu(), params[0].double().cpu(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("default", [torch.float64, torch.float16], ids=str)
@each_config
def test_another_default_dtype_works(kind, kwargs, device, default):
    skip_tensor_lr(kwargs)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        p = torch.ones(3, dtype=torch.float32, device=device, requires_grad=True)
        optimizer = kind([p], **kwargs)
        for _ in range(3):
            p.grad = torch.ones_like(p)
            optimizer.step()
    finally:
        torch.set_default_dtype(before)
    assert optimizer.state[p]["step"].item() == 3


@each_config
def test_gradients_are_left_alone(kind, kwargs, device):
    skip_tensor_lr(kwargs)
    problem = Problem(kind, kwargs, device)
    problem.loss()
    before = [p.grad.clone() for p in problem.params]
    for _ in range(3):
        problem.optimizer.step()
    assert all(torch.equal(p.grad, grad) for p, grad in zip(problem.params, before))


@each_input
def test_a_tensor_lr_works(kind, kwargs, device):
    kwargs = {**kwargs, "lr": 0.01, "foreach": False}
    number = Problem(kind, kwargs, device).run(5)
    tensor = Problem(kind, {**kwargs, "lr": torch.tensor(0.01)}, device).run(5)
    for p, q in zip(number.params, tensor.params):
        torch.testing.assert_close(p, q)
