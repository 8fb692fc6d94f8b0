"""A language model on counted sequences, with schedulers and an optimizer of BERT's time. Written for torch 1.7."""

import math

import numpy as np
import torch
from torch import nn
from torch._six import inf
from torch._utils import _accumulate
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, _LRScheduler

random = np.random.RandomState(2)


class WarmupLinear(LambdaLR):
    """Warm up for some steps, and go down to zero in a line."""

    def __init__(self, optimizer, warmup, total, last_epoch=-1):
        self.warmup, self.total = warmup, total
        super(WarmupLinear, self).__init__(optimizer, self.factor, last_epoch=last_epoch, verbose=False)

    def factor(self, step):
        if step < self.warmup:
            return step / max(1, self.warmup)
        return max(0.0, (self.total - step) / max(1.0, self.total - self.warmup))


class Noam(_LRScheduler):
    """The schedule of the first transformer."""

    def __init__(self, optimizer, width, warmup):
        self.width, self.warmup = width, warmup
        super(Noam, self).__init__(optimizer)

    def get_lr(self):
        step = max(1, self.last_epoch)
        scale = self.width**-0.5 * min(step**-0.5, step * self.warmup**-1.5)
        return [base * scale for base in self.base_lrs]


class BertAdam(Optimizer):
    """Adam without the correction of its bias, and with decoupled weight decay."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super(BertAdam, self).__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["m"], state["v"] = torch.zeros_like(p.data), torch.zeros_like(p.data)
                beta1, beta2 = group["betas"]
                state["m"].mul_(beta1).add_(1 - beta1, p.grad.data)
                state["v"].mul_(beta2).addcmul_(1 - beta2, p.grad.data, p.grad.data)
                update = state["m"] / (state["v"].sqrt() + group["eps"]) + group["weight_decay"] * p.data
                p.data.add_(-group["lr"], update)


class Model(nn.Module):
    def __init__(self, words=11, width=16, length=12):
        super(Model, self).__init__()
        self.embedding = nn.Embedding(words, width)
        place = torch.arange(length, dtype=torch.float64).unsqueeze(1)
        rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
        self.register_buffer("places", torch.stack([torch.sin(place * rate), torch.cos(place * rate)], 2).flatten(1))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0), 2)
        self.decoder = nn.Linear(width, words)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.places[: len(tokens), None]
        mask = torch.full((len(tokens), len(tokens)), -inf, dtype=x.dtype).triu(1)
        return self.decoder(self.encoder(x, mask))


def batches(lengths, size):
    """Cut sequences that count up by one, two or three, one after the other."""
    starts = random.randint(0, 11, (sum(lengths), 2))
    rows = torch.from_numpy((starts[:, :1] + (starts[:, 1:] % 3 + 1) * np.arange(12)) % 11)
    for end, length in zip(_accumulate(lengths), lengths):
        yield rows[end - length : end].t()


def train(name, make_optimizer, make_scheduler):
    model = Model().double()
    for parameter in model.parameters():
        parameter.data.copy_(torch.from_numpy(random.normal(0, 0.2, tuple(parameter.shape))))
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer)
    assert isinstance(scheduler, _LRScheduler)
    for tokens in batches([16] * 30, 16):
        logits = model(tokens[:-1])
        loss = nn.functional.cross_entropy(logits.reshape(-1, 11), tokens[1:].reshape(-1))
        model.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    print("%s  loss %.6f  norm %.6f  lr %.6g" % (name, loss.item(), norm, scheduler.get_last_lr()[0]))


train("warm-up", lambda p: BertAdam(p, lr=0.01), lambda o: WarmupLinear(o, 5, 40))
train("noam", lambda p: torch.optim.Adam(p, lr=1.0, betas=(0.9, 0.98), eps=1e-9), lambda o: Noam(o, 16, 20))
