"""A GAN with a gradient penalty on points of a ring. Written for torch 1.7."""

import numpy as np
import torch
from torch import autograd, nn
from torch._six import int_classes
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.sampler import Sampler

random = np.random.RandomState(1)


class InfiniteSampler(Sampler):
    """Go through the data again and again, in a new order each time."""

    def __init__(self, data_source):
        super(InfiniteSampler, self).__init__(data_source)
        self.length = len(data_source)

    def __iter__(self):
        while True:
            for index in random.permutation(self.length):
                yield int(index)

    def __len__(self):
        return 2**31


def layers(*sizes):
    assert all(isinstance(size, int_classes) for size in sizes)
    modules = []
    for before, after in zip(sizes, sizes[1:]):
        modules += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    net = nn.Sequential(*modules[:-1]).double()
    for parameter in net.parameters():
        parameter.data.copy_(torch.from_numpy(random.normal(0, 0.3, tuple(parameter.shape))))
    return net


def noise(*size):
    return torch.from_numpy(random.normal(size=size))


def gradient_penalty(critic, real, fake):
    alpha = torch.from_numpy(random.uniform(size=(len(real), 1)))
    between = (alpha * real + (1 - alpha) * fake).requires_grad_()
    out = critic(between)
    (grad,) = autograd.grad(out, between, torch.ones_like(out), create_graph=True, retain_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


angles = random.uniform(0, 2 * np.pi, 512)
ring = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], 1))
batches = iter(DataLoader(TensorDataset(ring), batch_size=32, sampler=InfiniteSampler(ring)))
generator, critic = layers(4, 16, 2), layers(2, 16, 1)
g_optimizer = torch.optim.Adam(generator.parameters(), lr=5e-3, betas=(0.0, 0.9))
c_optimizer = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.0, 0.9))
halve = torch.optim.lr_scheduler.MultiStepLR(g_optimizer, [20], gamma=0.5, verbose=True)
for step in range(40):
    for _ in range(3):
        (real,) = batches.next()
        fake = generator(noise(32, 4)).detach()
        loss = critic(fake).mean() - critic(real).mean() + 10 * gradient_penalty(critic, real, fake)
        c_optimizer.zero_grad()
        loss.backward()
        c_optimizer.step()
    g_loss = -critic(generator(noise(32, 4))).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    halve.step()
    if step % 10 == 9:
        print("step %d  critic %.6f  generator %.6f" % (step + 1, loss.item(), g_loss.item()))
sample = generator(noise(256, 4))
print("radius %.6f  lr %g" % (sample.norm(dim=1).mean().item(), g_optimizer.param_groups[0]["lr"]))
