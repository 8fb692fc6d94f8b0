"""Measure how long a step of ADOPT takes, in each of its forms, compared with torch's Adam and other ADOPTs.

    python benchmarks/adopt_step.py [--rounds N] [--threads 1 2] [--cases a b c] [--cpu-time] [--compile]
                                    [--only TEXT ...] [--json FILE] [--chart FILE.png]

All optimizers have the same parameters and gradients in one process, each with its own state. A round steps each once,
in a new random order, so that other load on the machine affects all of them alike, and none finds its tensors in the
cache. A time is the median over all rounds, a ratio is that of the medians. The machine's bandwidth is measured in the
same rounds by a loop that only adds: it reads four arrays and writes three, as a step does. The extra memory is the
increase of the peak memory of the process by a step. With one thread the benchmark shows a floor: a step that finds the
gradients, the states and their memory, and calls ADOPT's kernel without ADOPT's checks (class Floor).

On a busy machine, use ``--cpu-time``: it measures the CPU time of one thread, not wall time. ``--compile`` adds the
forms that inductor compiles, of this ADOPT and of HeavyBall's; that takes minutes. Other implementations that cannot be
imported are left out, with a message: pip install torch-adopt timm pytorch_optimizer heavyball.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from itertools import chain
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Callable, Iterable

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from shim.adopt import ADOPT, native

ALL = os.cpu_count() or 1
REFERENCE = "torch Adam, fused"
FLOOR = "the floor"


def gpt2() -> list[tuple[int, ...]]:
    """Return the shapes of the 148 parameters of GPT-2 with 124 M."""
    d = 768
    block = [(d,), (d,), (d, 3 * d), (3 * d,), (d, d), (d,), (d,), (d,), (d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    return [(50257, d), (1024, d), *block * 12, (d,), (d,)]


#: Letter -> the title of the case, the shapes of its parameters, their dtype.
CASES: dict[str, tuple[str, Callable[[], list[tuple[int, ...]]], torch.dtype]] = {
    "a": ("one tensor of 32 M", lambda: [(2**25,)], torch.float32),
    "b": ("400 tensors of 4 k", lambda: [(4096,)] * 400, torch.float32),
    "c": ("GPT-2 124 M, 148 tensors", gpt2, torch.float32),
    "d": ("1 B in bfloat16, 64 tensors", lambda: [(4096, 4096)] * 64, torch.bfloat16),
}
ON_A_GPU_ONLY = ("d",)


def other(module: str, **options: Any) -> Callable[[list[Any]], Any]:
    """Return a function that makes the ADOPT of another package. If the package is missing, it raises ImportError."""

    def make(params: list[Any]) -> Any:
        return importlib.import_module(module).ADOPT(params, **options)

    return make


def timm(**options: Any) -> Callable[[list[Any]], Any]:
    """Return a function that makes timm's ADOPT without importing all of timm, which needs torchvision."""

    def make(params: list[Any]) -> Any:
        if "timm" not in sys.modules:
            found = importlib.util.find_spec("timm")
            if found is None:
                raise ImportError("No module named 'timm'")
            for package in ("timm", "timm.optim"):
                bare = types.ModuleType(package)
                bare.__path__ = [str(Path(found.origin).parents[0].joinpath(*package.split(".")[1:]))]
                sys.modules[package] = bare
        return importlib.import_module("timm.optim.adopt").Adopt(params, **options)

    return make


def in_blocks(params: list[Any]) -> Any:
    """Make an ADOPT that steps as if the native kernel had not been built."""
    optimizer = ADOPT(params)

    def step() -> None:
        kernel, native._kernel = native._kernel, None
        try:
            type(optimizer).step(optimizer)
        finally:
            native._kernel = kernel

    optimizer.step = step
    return optimizer


def compiled(params: list[Any]) -> Any:
    optimizer = ADOPT(params)
    optimizer.step = torch.compile(optimizer.step)
    return optimizer


def heavyball(params: list[Any]) -> Any:
    optimizer = importlib.import_module("heavyball").ADOPT(params)
    optimizer.consume_grad = False  # the other optimizers step on the same gradients
    return optimizer


#: The measured optimizers: name -> a function that makes it.
OPTIMIZERS: dict[str, Callable[[list[Any]], Any]] = {
    "ADOPT, fused": lambda params: ADOPT(params, fused=True),
    "ADOPT, in blocks": in_blocks,
    "ADOPT, foreach": lambda params: ADOPT(params, foreach=True),
    "ADOPT, single": lambda params: ADOPT(params, foreach=False),
    REFERENCE: lambda params: torch.optim.Adam(params, fused=True),
    "torch Adam, foreach": lambda params: torch.optim.Adam(params, foreach=True),
    "torch Adam, single": lambda params: torch.optim.Adam(params, foreach=False),
    "torch-adopt, foreach": other("adopt", foreach=True),
    "torch-adopt, single": other("adopt", foreach=False),
    "timm, foreach": timm(foreach=True),
    "timm, single": timm(foreach=False),
    "pytorch_optimizer, foreach": other("pytorch_optimizer", foreach=True),
    "pytorch_optimizer, single": other("pytorch_optimizer", foreach=False),
}
COMPILED: dict[str, Callable[[list[Any]], Any]] = {
    "ADOPT, inductor": compiled,
    "HeavyBall": heavyball,
}

#: The simplest loop that reads and writes as much memory as a step. Each thread adds its share.
ADD = """
typedef struct { float *p, *m, *v; const float *g; long size; int threads, next; } Job;
static void work(void *argument) {
    Job *job = argument;
    long mine = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
    for (; mine < job->threads; mine = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED))
        for (long i = job->size / job->threads * mine; i < job->size / job->threads * (mine + 1); i++) {
            float g = job->g[i], p = job->p[i], m = job->m[i], v = job->v[i]; /* no read waits for a write */
            job->p[i] = p + g;
            job->m[i] = m + g;
            job->v[i] = v + g;
        }
}
void add(float *p, float *m, float *v, const float *g, long size, int threads,
         void (*parallel)(void (*)(void *), void *, unsigned, unsigned)) {
    Job job = {p, m, v, g, size, parallel ? threads : 1, 0};
    parallel && threads > 1 ? parallel(work, &job, threads, 0) : work(&job);
}
/* Finds where each tensor has its memory, and tells autograd of those that are written, which come first. */
void find(char *const *tensors, int n, int written, void (*bump)(const void *), const long *at, void **memory) {
    for (int i = 0; i < n; i++) {
        char *const *impl = (char *const *)(tensors[i] + at[0]);
        memory[i] = *(void **)(*(char **)(*impl + at[1]) + at[2]);
        if (i < written)
            bump(impl);
    }
}
"""


def library(folder: str) -> ctypes.CDLL | None:
    """Compile the functions that only add; return None if there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    (Path(folder) / "add.c").write_text(ADD)
    flags = ["-O3", "-march=native", "-fPIC", "-shared", "-Wno-unused-value"]
    subprocess.run([compiler, *flags, "add.c", "-o", "add.so"], cwd=folder, check=True)
    return ctypes.CDLL(f"{folder}/add.so")


class Floor(ADOPT):
    """The least work of a single-threaded step that finds its state through the optimizer.

    It reads the gradient of each parameter and the states from the optimizer, finds the memory of each tensor, tells
    autograd of each tensor that is written, and calls the kernel. It checks nothing. It runs inside of the wrapper that
    torch puts around step().
    """

    def prepare(self, library: ctypes.CDLL) -> None:
        """Inspect the tensors once, for all steps. The state must exist."""
        params = self.param_groups[0]["params"]
        names = ("exp_avg", "exp_avg_sq", "step")
        *columns, steps = [[self.state[p][name] for p in params] for name in names]
        seen = native._inspect([params, [p.grad for p in params], *columns, [None] * len(params), steps])
        assert seen is not None
        self.kind, self.table, self.held = seen
        group = self.param_groups[0]
        names = ("lr", "clip_exp", "weight_decay", "decouple", "eps", "maximize")
        beta1, beta2 = group["betas"]
        self.options = native._options(None, beta1=beta1, beta2=beta2, **{name: group[name] for name in names})
        self.getters = [itemgetter(name) for name in ("exp_avg", "exp_avg_sq", "step")]
        python, tensors = native._python, [*params, *chain(*columns), *steps, *(p.grad for p in params)]
        count, written, bump = len(tensors), len(tensors) - len(params), ctypes.c_void_p(python.bump)
        objects, memory = (ctypes.c_void_p * count)(*map(id, tensors)), (ctypes.c_void_p * count)()
        offsets = (ctypes.c_long * 3)(python.impl_at, python.storage_at, python.data_at)
        self.find = lambda: library.find(objects, count, written, bump, offsets, memory)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            list(map(attrgetter("grad"), group["params"]))
            states = list(self.state.values())  # in the order of the parameters; a lookup would hash each tensor
            columns = [list(map(getter, states)) for getter in self.getters]
            self.find()
            table, options = self.table.buffer_info()[0], self.options.buffer_info()[0]
            native._kernel(
                self.kind, len(columns[0]), table, options, None, 1, None, None, ctypes.byref(native._python)
            )


def adding(size: int, device: str, add: ctypes.CDLL | None) -> tuple[Callable[[], None], int, str]:
    """Return a function that reads and writes memory as a step does, its number of bytes, and its description."""
    if add is None or device != "cpu":
        a, b = torch.zeros(2 * size, device=device), torch.zeros(2 * size, device=device)
        return lambda: a.add_(b), 24 * size, "reading 2 arrays and writing 1"
    arrays = [torch.zeros(size) for _ in range(4)]
    function = add.add
    function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long, ctypes.c_int, ctypes.c_void_p]

    def run() -> None:
        function(*[array.data_ptr() for array in arrays], size, torch.get_num_threads(), native._parallel)

    return run, 28 * size, "reading 4 arrays and writing 3"


def seconds(step: Callable[[], Any], device: str, clock: Callable[[], float]) -> float:
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronize()
    before = clock()
    step()
    synchronize()
    return clock() - before


def extra_memory(step: Callable[[], Any], device: str) -> float | None:
    """Return by how many bytes a step raises the peak memory, or None if that cannot be measured."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return float(torch.cuda.max_memory_allocated() - before)
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current value
    except (OSError, AttributeError):
        return None
    before = held("VmHWM")
    step()
    return held("VmHWM") - before


def held(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def traffic(optimizer: Any, params: Iterable[torch.Tensor]) -> int:
    """Return how many bytes a step must move: it reads all tensors, and writes all but the gradients."""
    moved = 0
    for p in params:
        state = [t for t in optimizer.state[p].values() if isinstance(t, torch.Tensor) and t.numel() == p.numel() > 1]
        moved += p.grad.numel() * p.grad.element_size()
        moved += 2 * sum(t.numel() * t.element_size() for t in [p, *state])
    return moved


def measure(
    letter: str, threads: int, rounds: int, kinds: dict[str, Any], device: str, clock: Callable[[], float]
) -> dict[str, Any]:
    """Run one case with this number of threads; return its rows and the bandwidth."""
    title, shapes, dtype = CASES[letter]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, device=device).to(dtype)) for shape in shapes()]
    for p in params:
        p.grad = torch.randn_like(p)
    steps, memory, moved = {}, {}, {}
    for name, make in kinds.items():
        try:
            optimizer = make(params)
            for _ in range(3):  # the first steps make the state
                optimizer.step()
        except (ImportError, RuntimeError, ModuleNotFoundError) as error:
            print(f"left out: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        steps[name], moved[name] = optimizer.step, traffic(optimizer, params)
        memory[name] = extra_memory(optimizer.step, device)
    with tempfile.TemporaryDirectory() as folder:
        add = library(folder)
    if native._kernel is not None and native._python.bump and add is not None and device == "cpu" and threads == 1:
        floor = Floor(params, fused=True)
        for _ in range(3):
            ADOPT.step(floor)
        floor.prepare(add)
        steps[FLOOR], moved[FLOOR], memory[FLOOR] = floor.step, traffic(floor, params), None
    size = min(max(sum(p.numel() for p in params), 2**20), 2**26)
    steps["add"], moved["add"], pattern = adding(size, device, add)
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            times[name].append(seconds(steps[name], device, clock))
    medians = {name: statistics.median(values) for name, values in times.items()}
    bandwidth = moved["add"] / medians.pop("add")
    rows = [
        {
            "name": name,
            "ms": 1e3 * median,
            "ratio": median / medians[REFERENCE] if REFERENCE in medians else None,
            "floor": median / medians[FLOOR] if FLOOR in medians else None,
            "share": moved[name] / median / bandwidth
            if name != "HeavyBall"
            else None,  # traffic() does not see HeavyBall's state
            "extra_mb": None if memory[name] is None else memory[name] / 1e6,
        }
        for name, median in medians.items()
    ]
    gigabytes = bandwidth / 1e9
    return {"case": letter, "title": title, "threads": threads, "gb_s": gigabytes, "pattern": pattern, "rows": rows}


def show(result: dict[str, Any]) -> None:
    threads = "one thread" if result["threads"] == 1 else f"{result['threads']} threads"
    print(f"\n({result['case']}) {result['title']}, {threads}: {result['gb_s']:.1f} GB/s {result['pattern']}")
    print(f"{'':<30}{'ms':>9}{'ratio':>8}{'of floor':>10}{'of GB/s':>9}{'extra MB':>10}")
    for row in result["rows"]:
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        extra = "" if row["extra_mb"] is None else f"{row['extra_mb']:.1f}"
        ratio, floor = ("" if row[key] is None else f"{row[key]:.2f}" for key in ("ratio", "floor"))
        print(f"{row['name']:<30}{row['ms']:9.2f}{ratio:>8}{floor:>10}{share:>9}{extra:>10}")


def draw(results: list[dict[str, Any]], about: str, file: str) -> None:
    """Draw the ratios to torch's fused Adam, a panel for each case and number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    letters = list(dict.fromkeys(result["case"] for result in results))
    counts = list(dict.fromkeys(result["threads"] for result in results))
    size = (4.2 * len(counts) + 1.5, 3.0 * len(letters) + 0.6)
    figure, axes = pyplot.subplots(
        len(letters), len(counts), figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for result in results:
        axis = axes[letters.index(result["case"])][counts.index(result["threads"])]
        rows = result["rows"]
        colors = ["#d1495b" if row["name"].startswith("ADOPT") else "#9aa5b1" for row in rows]
        bars = axis.barh([row["name"] for row in rows], [row["ratio"] for row in rows], color=colors)
        over_the_line = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axis.bar_label(bars, [f"{row['ratio']:.2f}" for row in rows], padding=3, fontsize=8, bbox=over_the_line)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xlim(0, 1.15 * max(row["ratio"] for one in results for row in one["rows"]))
        threads = "one thread" if result["threads"] == 1 else f"{result['threads']} threads"
        axis.set_title(f"{result['title']}, {threads}", loc="left", fontsize=9)
        axis.tick_params(left=False, labelsize=8)
        axis.spines[["top", "right", "left"]].set_visible(False)
    for row in axes:
        row[0].invert_yaxis()
    figure.supxlabel(f"time of a step, as a multiple of torch's fused Adam\n{about}", fontsize=9)
    figure.savefig(file, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of all optimizers (15); ten times as many for case b")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, ALL}), help="on a CPU (one, and all)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="optimizers whose name has one of these in it")
    parser.add_argument("--compile", action="store_true", help="also what inductor compiles; takes minutes")
    parser.add_argument("--cpu-time", action="store_true", help="of one thread, where others keep the machine busy")
    parser.add_argument("--json", metavar="FILE", help="write the figures as data")
    parser.add_argument("--chart", metavar="FILE.png", help="draw them, with matplotlib")
    options = parser.parse_args()
    if options.cpu_time:
        options.threads = [1]
    clock = time.process_time if options.cpu_time else time.perf_counter

    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {ALL} cores"
    about = f"{platform.system()} {machine}, Python {platform.python_version()}, torch {torch.__version__}"
    about += ", CPU time" * options.cpu_time
    print(f"{about}; ADOPT on the CPU: {native.in_words()}")
    kinds = {**OPTIMIZERS, **(COMPILED if options.compile else {})}
    if device == "cuda":
        del kinds["ADOPT, in blocks"]
    if options.only:
        kinds = {name: kinds[name] for name in kinds if name == REFERENCE or any(text in name for text in options.only)}
    results = []
    for letter in options.cases:
        if device == "cpu" and letter in ON_A_GPU_ONLY:
            print(f"not run: ({letter}) {CASES[letter][0]}: no GPU at hand", file=sys.stderr)
            continue
        for threads in [ALL] if device == "cuda" else options.threads:
            rounds = options.rounds * (10 if letter == "b" else 1)
            results.append(measure(letter, threads, rounds, kinds, device, clock))
            show(results[-1])
            gc.collect()
    if options.json:
        Path(options.json).write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    if options.chart:
        draw(results, about, options.chart)


if __name__ == "__main__":
    main()
