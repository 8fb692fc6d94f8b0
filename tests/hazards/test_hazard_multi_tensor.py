"""torch.optim._multi_tensor, which has separate classes on 1.7 to 1.11 and subclasses later"""

from __future__ import annotations

import importlib

from hazard_observer import NONE, observation


@observation
def optimizers():
    import torch

    try:
        module = importlib.import_module("torch.optim._multi_tensor")
    except ImportError:
        return None
    yield
    seen = {}
    for name in ["Adam", "AdamW", "SGD", "RMSprop", "Adamax", "ASGD", "Adadelta", "Adagrad", "NAdam", "RAdam"]:
        if not hasattr(module, name):
            continue
        parameter = torch.nn.Parameter(torch.ones(2))
        try:
            optimizer = getattr(module, name)([parameter], lr=0.1, weight_decay=NONE)
            for value in (0.1, NONE):
                parameter.grad = torch.full((2,), 0.5)
                optimizer.step()
                optimizer.param_groups[0]["weight_decay"] = value
            seen[name] = parameter.tolist()
        except TypeError as error:
            seen[name] = type(error).__name__
    return seen


def test_multi_tensor_optimizers_train_a_none_as_zero(same):
    same(optimizers)
