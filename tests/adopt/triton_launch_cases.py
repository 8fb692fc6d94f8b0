"""ADOPT's Triton kernels are launched as few times as possible, for supported tensors; run by test_adopt_triton.py."""

from __future__ import annotations

import pytest
import torch
from adopt_oracle import assert_close
from triton_pairs import BLOCK, DEVICE, INTERPRETED, Fused, needs_gpu, on_device, pair, step_both

from shim.adopt import cuda, triton_kernels


def test_each_combination_of_dtypes_has_one_launch(monkeypatch):
    launches = []
    kernel = triton_kernels.step_kernel

    class Counted:
        def __getitem__(self, grid):
            launches.append(grid)
            return kernel[grid]

    params = [on_device(torch.ones(n, dtype=d)) for n in (3, 5, BLOCK + 1) for d in (torch.float32, torch.bfloat16)]
    optimizer = Fused(params)
    monkeypatch.setattr(triton_kernels, "step_kernel", Counted())
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()

    assert launches == [(4,), (4,)]


def test_the_table_is_rebuilt_only_when_a_tensor_moves():
    ours, fused, _, _ = pair([(3,), (4,)])
    cuda._tables.clear()
    for p in ours:
        p.grad = torch.ones_like(p)
    for _ in range(3):
        fused.step()
    assert len(cuda._tables) == 1

    kept = ours[0].grad
    ours[0].grad = kept.clone()
    fused.step()
    assert len(cuda._tables) == 2

    for _ in range(cuda._TABLES_KEPT + 2):
        kept = [kept, ours[0].grad]  # so that each gradient has memory of its own
        ours[0].grad = torch.ones_like(ours[0])
        fused.step()
    assert len(cuda._tables) == cuda._TABLES_KEPT


def test_autograd_notices_what_was_changed():
    ours, fused, _, _ = pair([(3,)], dtype=torch.bfloat16)
    ours[0].grad = torch.ones_like(ours[0])
    fused.step()
    tensors = [ours[0], *fused.state[ours[0]].values()]
    versions = [t._version for t in tensors]
    product = (ours[0] * ours[0]).sum()

    fused.step()

    assert all(t._version > version for t, version in zip(tensors, versions))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


@pytest.mark.parametrize("damage", ["shape", "dtype", pytest.param("device", marks=needs_gpu)])
def test_tensors_that_do_not_fit_are_refused_before_anything_is_written(damage):
    ours, fused, _, _ = pair([(4,), (3,)])
    for p in ours:
        p.grad = torch.ones_like(p)
    fused.step()
    state = fused.state[ours[1]]
    if damage == "shape":
        state["exp_avg"] = torch.zeros(2, device=DEVICE)
    elif damage == "dtype":
        state["step"] = state["step"].double()
    else:
        state["step"] = state["step"].cpu()
    before = [p.clone() for p in ours]

    with pytest.raises(RuntimeError, match="fused=True"):
        fused.step()

    assert all(torch.equal(p, b) for p, b in zip(ours, before))


def test_the_error_names_what_the_kernels_cannot_take():
    assert cuda.why_not([torch.ones(2, device=DEVICE), torch.ones(0, dtype=torch.float16, device=DEVICE)]) is None
    for tensor, reason in [
        (torch.ones(2, dtype=torch.float64, device=DEVICE), "torch.float64"),
        (torch.ones(2, dtype=torch.complex64, device=DEVICE), "torch.complex64"),
        (torch.ones(2, device=DEVICE).to_sparse(), "torch.sparse_coo"),
    ]:
        assert reason in cuda.why_not([torch.ones(2, device=DEVICE), tensor])


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_a_dtensor_steps_its_local_tensor(tmp_path):
    from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor, init_device_mesh

    torch.distributed.init_process_group(
        "gloo" if INTERPRETED else "nccl", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        mesh = init_device_mesh(DEVICE, (1,))
        ours, fused, theirs, single = pair([(4, 3)])
        sharded = torch.nn.Parameter(distribute_tensor(ours[0].detach().clone(), mesh, [Shard(0)]))
        fused = Fused([sharded], lr=1e-2)
        for k, placement in enumerate([Shard(0), Replicate(), Partial(), Shard(1), Shard(0)]):
            theirs[0].grad = torch.sin(torch.arange(12.0) + k).reshape(4, 3).to(DEVICE)
            sharded.grad = torch.distributed.tensor.DTensor.from_local(theirs[0].grad.clone(), mesh, [placement])
            fused.step()
            single.step()

        assert cuda.why_not([sharded]) is None
        assert type(fused.state[sharded]["exp_avg"]) is type(sharded.data)
        assert_close(sharded.to_local(), theirs[0], 1e-6)
    finally:
        torch.distributed.destroy_process_group()


def trained(params, make, steps, step):
    """Train `params` towards the sines of a counter. `step` repeats the function that makes one step."""
    optimizer = make(params)
    counter = torch.zeros((), device=DEVICE)

    def train():
        optimizer.zero_grad(set_to_none=True)
        sum(((p.float() - torch.sin(counter + i)) ** 2).sum() for i, p in enumerate(params)).backward()
        optimizer.step()
        counter.add_(1)

    step(train, steps)
    return optimizer


def eagerly(train, steps):
    for _ in range(steps):
        train()


def in_a_graph(train, steps):
    # As torch's documentation recommends, the gradients are allocated again in the capture.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        eagerly(train, 3)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        train()
    # The tables of eager steps may be freed, and their memory be reused.
    cuda._tables.clear()
    junk = [torch.full((1000,), -1, dtype=torch.int64, device=DEVICE) for _ in range(100)]
    for _ in range(steps - 3):
        graph.replay()
    torch.cuda.synchronize()
    del junk


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rounding", ["compensated", "stochastic"])
def test_a_cuda_graph_captures_the_step(rounding, dtype):
    def make(params):
        return Fused([{"params": params, "rounding": rounding}], lr=1e-2, weight_decay=0.1)

    start = [torch.linspace(-1, 1, n).to(DEVICE, dtype) for n in (3, 2 * BLOCK, BLOCK + 7)]
    eager, replayed = ([t.clone().requires_grad_() for t in start] for _ in range(2))

    trained(eager, make, 20, eagerly)
    optimizer = trained(replayed, make, 20, in_a_graph)

    assert optimizer.state[replayed[0]]["step"].item() == 20.0
    assert all(torch.equal(p, q) for p, q in zip(eager, replayed))


@needs_gpu
def test_the_host_never_waits_for_the_device():
    params = [torch.ones(n, dtype=d, device=DEVICE) for n in (3, BLOCK) for d in (torch.float32, torch.bfloat16)]
    optimizer = Fused(params, lr=torch.tensor(1e-2, device=DEVICE))
    optimizer.found_inf = torch.zeros((), device=DEVICE)
    optimizer.grad_scale = torch.ones((), device=DEVICE)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            for p in params:
                p.grad = torch.ones_like(p)
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode(before)

    assert optimizer.state[params[0]]["step"].item() == 3.0


@needs_gpu
def test_steps_on_another_stream_have_a_table_of_their_own():
    ours, fused, theirs, single = pair([(3,), (BLOCK + 1,)])
    step_both(ours, fused, theirs, single)
    tables = len(cuda._tables)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        fused.step()
    torch.cuda.current_stream().wait_stream(stream)
    single.step()

    assert len(cuda._tables) == tables + 1
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(ours, theirs))


def test_a_table_made_in_a_capture_is_the_same():
    values = [0, 3, 2**40 + 1, 2**62 + 1]
    constants = torch.zeros(len(values), dtype=torch.int64, device=DEVICE)

    # As cuda._constants does in a capture.
    torch._foreach_add_(constants.unbind(), values)

    assert constants.tolist() == cuda._constants(values, torch.device(DEVICE)).tolist() == values
