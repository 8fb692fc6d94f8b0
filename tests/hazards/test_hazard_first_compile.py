"""Guards and hooks survive the first torch.compile of a process, which strips hooked steps on 2.0 to 2.2"""

from __future__ import annotations

import importlib

from hazard_observer import NONE, observation
from test_hazard_compile import _built, _compiled, _dynamo, _parameters


@observation
def what_the_first_compile_leaves():
    """Return which hooks fire, and the results of steps, before and after the first compile of the process."""
    import torch

    if not hasattr(torch.optim.Optimizer, "register_step_pre_hook"):
        return None
    log = []
    early = {name: _built(name) for name in ("Adam", "SGD")}
    yield
    built = {**early, "AdamW": _built("AdamW"), "Adam built later": _built("Adam", weight_decay=NONE)}
    for optimizer in built.values():
        optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: log.append("pre"))
        optimizer.register_step_post_hook(lambda optimizer, args, kwargs: log.append("post"))
    importlib.import_module("torch.optim.optimizer").register_optimizer_step_pre_hook(
        lambda optimizer, args, kwargs: log.append("global")
    )

    def stepped(weight_decay):
        seen = {}
        for name, optimizer in built.items():
            del log[:]
            optimizer.param_groups[0]["weight_decay"] = weight_decay
            optimizer.step()
            seen[name] = [list(log), _parameters(optimizer)]
        return seen

    seen = [stepped(0.1), stepped(NONE)]
    if _dynamo() is None:
        return None
    other = _built("RMSprop")
    train, _ = _compiled(other)
    train()
    seen += [stepped(0.1), stepped(NONE)]
    built["RMSprop"], built["Adam after"] = other, _built("Adam", weight_decay=NONE)
    seen.append(stepped(NONE))
    yield
    return [*seen, stepped(0.1)]


def test_guards_and_hooks_survive_the_first_compile(same):
    same(what_the_first_compile_leaves)
