"""The blocked form: without the native kernel, large CPU parameters are stepped block by block."""

import pytest
import torch

from shim.adopt import ADOPT, blocked, functional, fused
from shim.adopt.form import form

pytestmark = pytest.mark.usefixtures("no_native_kernel")


@pytest.fixture
def sizes(monkeypatch):
    """Return a list to which each call of the single-tensor form adds the sizes of its parameters."""
    seen = []
    step_each = fused.step_each

    def watched(lists, options):
        seen.append([p.numel() for p in lists.params])
        step_each(lists, options)

    monkeypatch.setattr(functional, "_single_tensor_adopt", form("_single_tensor_adopt", watched))
    for module in (blocked, fused):
        monkeypatch.setattr(module, "step_each", watched)
    return seen


NEWER = pytest.mark.torch_from(1, 8, "no views of complex numbers, no complete low precision")


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, pytest.param(torch.bfloat16, marks=NEWER), pytest.param(torch.complex64, marks=NEWER)],
    ids=str,
)
def test_no_operation_is_larger_than_a_block(sizes, dtype):
    size = blocked.BLOCK if torch.get_num_threads() == 1 else blocked.BLOCK_FOR_THREADS
    whole = torch.view_as_complex if dtype == torch.complex64 else lambda t: t.to(dtype)
    params = [torch.nn.Parameter(whole(torch.ones(n, 2))) for n in (size + 1, 10)]
    others = [torch.nn.Parameter(p.detach().clone()) for p in params]
    optim, plain = ADOPT(params), ADOPT(others, foreach=False)

    for _ in range(3):
        for p, q in zip(params, others):
            p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        sizes.clear()
        optim.step()
        assert sizes == [[size, size, 2], [20]]
        plain.step()

    assert optim.state[params[0]]["step"].item() == 3.0
    assert all(torch.equal(p, q) for p, q in zip(params, others))


@pytest.mark.parametrize(
    "form",
    [
        {"foreach": False},
        {"differentiable": True},
        pytest.param({"capturable": True}, marks=pytest.mark.torch_from(1, 12, "no capturable optimizers")),
    ],
    ids=str,
)
def test_an_explicit_form_is_used_instead_of_the_blocked_form(sizes, form, small_blocks):
    p = torch.ones(20, requires_grad="differentiable" not in form)
    optim = ADOPT([p], **form)
    p.grad = torch.ones(20)

    optim.step()

    assert sizes == [[20]]


@pytest.mark.parametrize("offset", [0, 1])
def test_a_gradient_that_shares_memory_with_its_parameter_gives_the_same_numbers(offset, small_blocks):
    found = []
    for options in ({"foreach": False}, {}):
        memory = torch.linspace(-1.0, 1.0, 21)
        p = torch.nn.Parameter(memory[offset : 20 + offset])
        optim = ADOPT([p], lr=0.1, **options)
        for _ in range(4):
            p.grad = memory[:20]
            optim.step()
        found.append(memory)
    assert torch.equal(*found)
