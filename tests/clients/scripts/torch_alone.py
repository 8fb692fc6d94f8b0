"""torch alone, as many projects use it: None in groups, in checkpoints, in hooks, in worker processes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import client
import torch


def nanotron(weight_decay):
    """As in nanotron: a group for each parameter, without the parameter's name; the config's value is the default."""
    config = {"weight_decay": weight_decay, "learning_rate": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.95}
    model = client.model()
    named_groups = [
        {
            "named_params": [(name, parameter)],
            "lr": config["learning_rate"],
            "weight_decay": 0.0 if name.endswith("bias") else config["weight_decay"],
        }
        for name, parameter in model.named_parameters()
    ]
    groups = [{"params": [parameter for _, parameter in group.pop("named_params")], **group} for group in named_groups]
    optimizer = torch.optim.AdamW(
        groups,
        lr=config["learning_rate"],
        weight_decay=config["weight_decay"],
        betas=(config["adam_beta1"], config["adam_beta2"]),
    )
    return client.fit(model, optimizer)


def detectron2_groups(model, weight_decay):
    """As in detectron2: each parameter is a group, and biases have a separate weight decay."""
    return [
        {"params": [parameter], "lr": 0.1, "weight_decay": weight_decay if name.endswith("bias") else 1e-4}
        for name, parameter in model.named_parameters()
    ]


def detectron2(weight_decay):
    model = client.model()
    return client.fit(model, torch.optim.SGD(detectron2_groups(model, weight_decay), 0.1, momentum=0.9))


def with_gradient_clipping(optimizer_class):
    """Make a subclass whose step clips the gradients and calls the step of the class."""

    def step(self, closure=None):
        for group in self.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 0.1)
        super(type(self), self).step(closure)

    return type(optimizer_class.__name__ + "WithGradientClip", (optimizer_class,), {"step": step})


def detectron2_clipped(weight_decay):
    model = client.model()
    clipped = with_gradient_clipping(torch.optim.SGD)
    return client.fit(model, clipped(detectron2_groups(model, weight_decay), 0.1, momentum=0.9))


def detectron2_reclassed(weight_decay):
    """As in older releases of detectron2: the optimizer is built first, and its __class__ is replaced afterwards."""
    model = client.model()
    optimizer = torch.optim.SGD(detectron2_groups(model, weight_decay), 0.1, momentum=0.9)
    optimizer.__class__ = with_gradient_clipping(type(optimizer))
    return client.fit(model, optimizer)


def in_backward(weight_decay):
    """Use an optimizer for each parameter, which steps as soon as its gradient is computed."""
    model = client.model()
    optimizers = {
        parameter: torch.optim.AdamW([{"params": [parameter], "weight_decay": weight_decay}], lr=0.1)
        for parameter in model.parameters()
    }

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for batch in client.batches():
        model(batch).pow(2).mean().backward()
    return model.parameters()


def compiled(weight_decay):
    model = client.model()
    groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)

    @torch.compile
    def step():
        optimizer.step()

    for batch in client.batches():
        optimizer.zero_grad()
        model(batch).pow(2).mean().backward()
        step()
    return model.parameters()


def scaled(weight_decay):
    """Use a fused Adam, to which the scaler passes the scale of the gradients."""
    model = client.model()
    groups = [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    optimizer = torch.optim.Adam(groups, lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu")
    for batch in client.batches():
        optimizer.zero_grad()
        scaler.scale(model(batch).pow(2).mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    return model.parameters()


def resumed(weight_decay):
    """Load a checkpoint whose groups have the weight decay of the run before."""
    checkpoint = str(Path(tempfile.mkdtemp()) / "checkpoint.pt")
    model = client.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    client.fit(model, optimizer)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["weight_decay"] = weight_decay
    torch.save(saved, checkpoint)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    optimizer.load_state_dict(torch.load(checkpoint))
    return client.fit(model, optimizer)


def work(rank, weight_decay, file):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = client.model()
    client.fit(model, torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=weight_decay))
    torch.save(model.state_dict(), file)


def spawned(weight_decay):
    file = str(Path(tempfile.mkdtemp()) / "model.pt")
    torch.multiprocessing.spawn(work, (weight_decay, file), nprocs=1)
    return torch.load(file).values()


if __name__ == "__main__":
    client.run(
        nanotron, detectron2, detectron2_clipped, detectron2_reclassed, in_backward, compiled, scaled, resumed, spawned
    )
