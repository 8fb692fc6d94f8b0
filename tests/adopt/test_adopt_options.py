"""ADOPT's constructor and functional form accept the documented arguments and refuse others with a clear message."""

import inspect

import pytest
import torch

from shim.adopt import ADOPT, adopt
from shim.adopt.functional import _fused_adopt, _multi_tensor_adopt, _single_tensor_adopt


def parameter():
    return torch.nn.Parameter(torch.ones(3))


def test_the_signature_is_the_documented_one():
    names = list(inspect.signature(ADOPT).parameters)

    assert names == [
        *["params", "lr", "betas", "eps", "clip_lambda", "weight_decay", "decouple"],
        *["clip_exp", "foreach", "maximize", "capturable", "differentiable", "fused"],
    ]
    defaults = ADOPT([parameter()]).defaults
    assert (defaults["lr"], defaults["betas"], defaults["eps"]) == (1e-3, (0.9, 0.9999), 1e-6)
    assert (defaults["clip_exp"], defaults["weight_decay"], defaults["decouple"]) == (0.25, 0.0, False)


def test_the_forms_have_one_parameter_list():
    single, multi, fused = (
        inspect.signature(form) for form in (_single_tensor_adopt, _multi_tensor_adopt, _fused_adopt)
    )

    assert single == multi == fused
    assert single.parameters["weight_decay"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ({"eps": -1.0}, ValueError, "Invalid epsilon value: -1.0"),
        ({"betas": (1.0, 0.9)}, ValueError, "Invalid beta parameter at index 0: 1.0"),
        ({"betas": (0.9, -0.1)}, ValueError, "Invalid beta parameter at index 1: -0.1"),
        ({"weight_decay": -0.1}, ValueError, "Invalid weight_decay value: -0.1"),
        ({"clip_exp": -0.1}, ValueError, "Invalid clip_exp value: -0.1"),
        ({"clip_lambda": 0.25}, TypeError, "clip_lambda must be a callable"),
        ({"clip_lambda": abs, "clip_exp": 0.5}, ValueError, "cannot be given together"),
        ({"clip_lambda": abs, "capturable": True}, ValueError, "use clip_exp"),
        ({"lr": torch.tensor(1e-3), "foreach": True}, ValueError, "lr as a Tensor is not supported"),
        ({"lr": torch.tensor([1e-3, 1e-3])}, ValueError, "Tensor lr must be 1-element"),
        ({"betas": (torch.tensor(0.9), 0.9)}, ValueError, "betas as Tensors are not supported"),
        ({"differentiable": True, "fused": True}, RuntimeError, "`fused` does not support `differentiable`"),
        ({"foreach": True, "fused": True}, RuntimeError, "cannot be `True` together"),
        ({"differentiable": True, "foreach": True}, RuntimeError, "does not support `differentiable`"),
        ({"differentiable": True, "capturable": True}, RuntimeError, "does not support `differentiable`"),
        ({"weight_decay": None}, TypeError, "weight_decay=0.0"),
        *(
            ({name: torch.ones(2)}, TypeError, f"{name} must be True or False")
            for name in ("decouple", "maximize", "differentiable")
        ),
    ],
    ids=str,
)
def test_unsupported_options_are_refused_at_construction(options, error, message):
    with pytest.raises(error, match=message):
        ADOPT([parameter()], **options)


def test_none_in_a_group_says_what_to_write():
    p = parameter()
    optimizer = ADOPT([{"params": [p], "weight_decay": None}])
    p.grad = torch.ones(3)

    with pytest.raises(TypeError, match="weight_decay=0.0 for no weight decay"):
        optimizer.step()


@pytest.mark.parametrize("form", [_single_tensor_adopt, _multi_tensor_adopt, _fused_adopt])
def test_none_in_the_functional_forms_says_what_to_write(form):
    tensors = [[torch.ones(2)] for _ in range(4)] + [[torch.tensor(0.0)]]

    with pytest.raises(TypeError, match="weight_decay=0.0 for no weight decay"):
        form(
            *tensors,
            None,
            None,
            has_complex=False,
            beta1=0.9,
            beta2=0.99,
            lr=1e-3,
            clip_lambda=None,
            weight_decay=None,
            decouple=False,
            eps=1e-6,
            maximize=False,
            capturable=False,
            differentiable=False,
        )


def test_the_functional_form_takes_the_arguments_of_the_reference():
    param, grad, m, v, step = torch.ones(2), torch.ones(2), torch.zeros(2), torch.ones(2), torch.tensor(1.0)

    adopt(
        [param],
        [grad],
        [m],
        [v],
        [step],
        foreach=False,
        beta1=0.0,
        beta2=0.5,
        lr=0.1,
        clip_lambda=lambda t: 0.5,
        weight_decay=0.0,
        decouple=False,
        eps=1e-6,
        maximize=False,
    )

    assert torch.equal(m, torch.tensor([0.5, 0.5])) and step.item() == 2.0
    assert torch.allclose(param, torch.tensor(0.95))


def test_steps_that_are_not_tensors_are_refused_with_adams_words():
    with pytest.raises(RuntimeError, match="`state_steps` argument must contain a list of singleton tensors"):
        adopt(
            *[[torch.ones(2)] for _ in range(4)],
            [1],
            beta1=0.9,
            beta2=0.99,
            lr=1e-3,
            clip_lambda=None,
            weight_decay=0.0,
            decouple=False,
            eps=1e-6,
            maximize=False,
        )


def test_sparse_gradients_are_refused_with_adams_words():
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = ADOPT(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()

    with pytest.raises(RuntimeError, match="ADOPT does not support sparse gradients, please consider SparseAdam"):
        optimizer.step()


def test_a_group_that_names_one_kind_of_clip_does_not_inherit_the_other():
    optimizer = ADOPT([{"params": [parameter()], "clip_lambda": None}, {"params": [parameter()]}])
    optimizer.add_param_group({"params": [parameter()], "clip_lambda": abs})
    optimizer.add_param_group({"params": [parameter()], "clip_exp": 0.5})

    clips = [(group["clip_exp"], group["clip_lambda"]) for group in optimizer.param_groups]
    assert clips == [(None, None), (0.25, None), (None, abs), (0.5, None)]


def test_gradients_are_neither_changed_nor_kept(form):
    params = [parameter(), torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = ADOPT(params, weight_decay=0.1, maximize=True, **form)
    for _ in range(3):
        for p in params:
            p.grad = torch.full_like(p, 0.5)
        before = [p.grad for p in params]
        pointers = {p.grad.data_ptr() for p in params} | {p.data_ptr() for p in params}
        optimizer.step()
        assert all(p.grad is grad and bool((grad == 0.5).all()) for p, grad in zip(params, before))
        own = {t.data_ptr() for state in optimizer.state.values() for t in state.values()}
        assert not own & pointers, "a state tensor shares memory with a parameter or a gradient"


def test_closures_and_zero_grad_work_and_step_hooks_fire_once():
    p = parameter()
    optimizer = ADOPT([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(20)]

    assert losses[0] == 3.0 and losses[-1] < losses[0]
    if hasattr(optimizer, "register_step_post_hook"):
        seen = []
        optimizer.register_step_pre_hook(lambda *a: seen.append("pre"))
        optimizer.register_step_post_hook(lambda *a: seen.append("post"))
        optimizer.step()
        assert seen == ["pre", "post"]


def test_a_learning_rate_scheduler_sets_the_lr_of_a_step():
    p = parameter()
    optimizer = ADOPT([p], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.0)
    p.grad = torch.ones(3)
    optimizer.step()
    scheduler.step()

    optimizer.step()

    assert p.tolist() == [1.0, 1.0, 1.0], "with a learning rate of 0 nothing moves"


def test_a_schedule_of_the_momentum_reaches_beta1():
    p = parameter()
    optimizer = ADOPT([p], lr=0.1)

    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)

    assert optimizer.param_groups[0]["betas"] == (0.95, 0.9999)


@pytest.mark.torch_from(1, 6, "no torch.optim.swa_utils")
def test_swa_averages_the_weights_that_adopt_trains():
    from torch.optim.swa_utils import AveragedModel

    model = torch.nn.Linear(2, 1)
    average, optimizer = AveragedModel(model), ADOPT(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.ones(4, 2)).sum().backward()
        optimizer.step()
        average.update_parameters(model)

    assert not torch.equal(average.module.weight, model.weight)


def test_a_tensor_lr_is_the_same_as_a_number():
    p, q = parameter(), parameter()
    lr = torch.tensor(0.1)
    optimizers = [
        ADOPT([p], lr=lr, weight_decay=0.1, decouple=True),
        ADOPT([q], lr=0.1, weight_decay=0.1, decouple=True),
    ]

    for k in range(6):
        for x, optimizer in zip((p, q), optimizers):
            x.grad = torch.tensor([1.0, -2.0, 0.5]) * (k + 1)
            optimizer.step()
        if k == 3:
            lr.fill_(0.01)
            optimizers[1].param_groups[0]["lr"] = 0.01

    assert torch.allclose(p, q, rtol=0, atol=1e-6)
    assert not torch.equal(p, torch.ones(3))
