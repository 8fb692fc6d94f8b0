"""Threads that import torch.optim at once, fork, forkserver and spawn processes and sub-interpreters are guarded"""

from __future__ import annotations

import multiprocessing
import os
import sys
import textwrap

import pytest

STEP = """
    def step(name="Adam"):
        import warnings

        import torch.optim

        warnings.simplefilter("ignore")
        parameter = torch.nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        optimizer = getattr(torch.optim, name)([{"params": [parameter], "weight_decay": None}], 0.1, weight_decay=None)
        optimizer.step()
        return [optimizer.defaults["weight_decay"], optimizer.param_groups[0]["weight_decay"]]
"""


def program(body):
    return textwrap.dedent(STEP) + textwrap.dedent(body)


def test_threads_that_import_torch_at_once_all_build_guarded_optimizers(python):
    # All threads import the same module: torch itself fails if threads import it through different modules.
    body = """
        import threading

        start = threading.Barrier(6)
        results = []

        def work(name):
            start.wait()
            import torch.optim

            results.append(step(name))

        threads = [threading.Thread(target=work, args=[name]) for name in ["Adam", "AdamW", "SGD"] * 2]
        [thread.start() for thread in threads]
        [thread.join(120) for thread in threads]
        import shim

        assert shim.status().active and shim.status().error is None, shim.status()
        print(results)
        """
    done = python(program(body))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{[[0.0, 0.0]] * 6}\n", done.stderr


def test_threads_that_activate_and_deactivate_leave_torch_as_it_was(python):
    body = """
        import sys, threading, torch, shim

        sys.setswitchinterval(1e-6)  # threads come between each other's steps wherever they can

        def held():
            names = ["torch.optim.adam", "torch.optim._functional", "torch.optim.sgd"]
            modules = [vars(sys.modules[name]) for name in names if name in sys.modules]
            found = {(n, name): value for n, each in enumerate(modules) for name, value in each.items()}
            return {**found, "init": torch.optim.Adam.__init__, "step": torch.optim.Adam.step}

        before = held()
        failures = []

        def work():
            try:
                for _ in range(5):
                    shim.activate()
                    shim.status()
                    shim.deactivate()
            except BaseException as error:
                failures.append(repr(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join(120) for thread in threads]
        after = held()
        print(len(before) > 4, failures, [name for name in before if after[name] is not before[name]])
        """
    done = python(body, door="src")
    assert done.stdout == "True [] []\n", done.stderr


def test_two_threads_that_step_two_optimizers_at_once_compute_what_one_thread_does(python):
    body = """
        import sys

        has_gil = getattr(sys, "_is_gil_enabled", lambda: True)
        before = has_gil()
        sys.modules["triton"] = None  # torch's first optimizer imports it, and it turns the GIL on

        import threading, warnings, torch
        from shim.adopt import ADOPT

        warnings.simplefilter("ignore")
        sys.setswitchinterval(1e-6)  # threads come between each other's steps wherever they can
        start = threading.Barrier(4)

        def train(cls, seed, wait=lambda: None):
            generator = torch.Generator()
            generator.manual_seed(seed)
            parameters = [torch.nn.Parameter(torch.randn(n, generator=generator)) for n in (1, 33, 4_000)]
            groups = [{"params": [parameter]} for parameter in parameters]
            groups[0]["weight_decay"] = None
            wait()
            optimizer = cls(groups, lr=0.1, weight_decay=0.1)
            for _ in range(30):
                for parameter in parameters:
                    parameter.grad = torch.randn(parameter.shape, generator=generator)
                optimizer.param_groups[1]["weight_decay"] = None
                optimizer.step()
            return torch.cat([parameter.detach() for parameter in parameters])

        works = [(cls, seed) for cls in (ADOPT, torch.optim.AdamW) for seed in (1, 2)]
        alone = {work: train(*work) for work in works}
        beside = {}

        def run(work):
            beside[work] = train(*work, wait=start.wait)

        threads = [threading.Thread(target=run, args=[work]) for work in works]
        [thread.start() for thread in threads]
        [thread.join(120) for thread in threads]
        print([bool((alone[work] == beside[work]).all()) for work in works], has_gil() == before)
        """
    done = python(program(body))
    assert done.stdout == "[True, True, True, True] True\n", done.stderr


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("door", ["armed", "late"])
def test_a_worker_is_guarded_however_it_is_started(python, tmp_path, method, door):
    # After a call of activate() the guards exist in the process, and a fork inherits them. Processes that are started
    # in another way need the environment.
    if door == "late" and method != "fork":
        pytest.skip("limit: a call activates one process; forkserver and spawn start others, which need a door")
    late = door == "late"
    (tmp_path / "train.py").write_text(
        program(
            f"""
            import multiprocessing

            if {late}:
                import torch.optim, shim
                shim.activate()

            if __name__ == "__main__":
                step()
                with multiprocessing.get_context({method!r}).Pool(2) as pool:
                    print(pool.map(step, ["Adam", "AdamW", "SGD"]))
            """
        )
    )
    done = python(["train.py"], door="src" if late else "sitecustomize")
    assert done.stdout == f"{[[0.0, 0.0]] * 3}\n", done.stderr


def test_a_sub_interpreter_behaves_as_without_shim(python):
    # A sub-interpreter runs its own sitecustomize. torch works only in the main interpreter: an import in another one
    # hangs (torch 2.13 on Python 3.11) or ends the process (torch 2.15 on Python 3.13), with and without shim
    # (https://github.com/pytorch/pytorch/issues/10950).
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    inside = """
import sys, json
print([type(finder).__name__ for finder in sys.meta_path if hasattr(finder, "_shim")])
"""
    body = f"""
        import {module} as interpreters

        number = interpreters.create()
        print(interpreters.run_string(number, {inside!r}))
        interpreters.destroy(number)
        """
    plain, ours = (python(body, door=door) for door in (None, "sitecustomize"))
    assert plain.returncode == 0, plain.stderr
    assert ours.stdout == plain.stdout.replace("[]", "['Finder']"), ours.stderr
    assert ours.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_activates_can_activate(python):
    result = python(
        """
        import os, signal, threading, torch, shim
        shim.activate()  # imports all: a fork in the middle of an import is beyond Python itself
        shim.deactivate()
        stop = []
        def again_and_again():
            while not stop:
                shim.deactivate()
                shim.activate()
        thread = threading.Thread(target=again_and_again)
        thread.start()
        ends = []
        for _ in range(6):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                shim.activate()
                os._exit(0)
            ends.append(os.waitpid(child, 0)[1])
        stop.append(True)
        thread.join()
        print(ends)
        """,
        door="src",
    )
    assert result.stdout == "[0, 0, 0, 0, 0, 0]\n", result.stderr
