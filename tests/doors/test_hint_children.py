"""One process of a job prints the hint, with the command that starts the whole job."""

from __future__ import annotations

import re
import sys

import pytest
from hint_programs import BREAKS, HERE, RELEASE, said, the_command


class TestChildren:
    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_one_of_several_multiprocessing_workers_prints_the_hint(self, python, script, method):
        script.write_text(
            "import multiprocessing, torch\ndef work():\n    " + BREAKS + "\nif __name__ == '__main__':\n"
            f"    context = multiprocessing.get_context('{method}')\n"
            "    for _ in range(3):\n        worker = context.Process(target=work)\n        worker.start()\n"
            "        worker.join()\n"
        )
        ran = python([script, "x"])
        assert ran.returncode == 0 and ran.stderr.count("Traceback") == 3
        (paragraph,) = said(ran)
        last = paragraph.split("\nProcess ")[0].splitlines()[-1].strip()
        if method == "forkserver":
            assert last == f"SHIM_FOR={RELEASE} in front of the command that started the job"
        else:
            assert last == f"{sys.executable} -m shim run --for {RELEASE} {script} x"

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since Python 3.11")
    def test_the_hint_is_below_the_traceback_of_the_worker(self, python, script):
        script.write_text(
            "import multiprocessing, torch\ndef work():\n    " + BREAKS + "\nif __name__ == '__main__':\n"
            "    worker = multiprocessing.Process(target=work)\n    worker.start()\n    worker.join()\n"
        )
        the_command(python([script]))

    def test_a_worker_that_catches_its_exception_or_exits_prints_no_hint(self, python, script):
        script.write_text(
            "import multiprocessing, sys, torch\ndef work(how):\n    try:\n        " + BREAKS + "\n"
            "    except Exception as error:\n        sys.exit(3) if how else None\n"
            "if __name__ == '__main__':\n    for how in (0, 1):\n"
            "        worker = multiprocessing.Process(target=work, args=(how,))\n        worker.start()\n"
            "        worker.join()\n        print(worker.exitcode)\n"
        )
        ran = python([script])
        assert (ran.stdout, ran.stderr) == ("0\n3\n", "")

    @pytest.mark.parametrize("dies", [False, True])
    def test_an_exception_that_the_parent_handles_while_it_starts_a_worker(self, python, script, dies):
        script.write_text(
            "import multiprocessing, torch\ndef work(dies):\n    if dies:\n        " + BREAKS + "\n"
            "if __name__ == '__main__':\n    try:\n        work(True)\n    except Exception:\n"
            "        context = multiprocessing.get_context('fork')\n"
            f"        worker = context.Process(target=work, args=({dies},))\n        worker.start()\n"
            "        worker.join()\n"
        )
        ran = python([script])
        assert ran.returncode == 0 and len(said(ran)) == dies, ran.stderr

    @pytest.mark.parametrize(
        "pool", ["multiprocessing.Pool(1)", "concurrent.futures.ProcessPoolExecutor(1)"], ids=["Pool", "futures"]
    )
    def test_an_exception_of_a_pool_prints_the_hint_in_the_parent(self, python, script, pool):
        script.write_text(
            "import concurrent.futures, multiprocessing, torch\ndef work(_):\n    " + BREAKS + "\n"
            f"if __name__ == '__main__':\n    with {pool} as pool:\n        list(pool.map(work, [1]))\n"
        )
        assert the_command(python([script])).endswith(f"--for {RELEASE} {script}")

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_exception_of_a_data_loader_prints_the_hint_once(self, python, script, workers):
        script.write_text(
            "import torch, torch.utils.data\nclass Data(torch.utils.data.Dataset):\n"
            "    def __len__(self):\n        return 4\n    def __getitem__(self, index):\n        " + BREAKS + "\n"
            "if __name__ == '__main__':\n"
            f"    list(torch.utils.data.DataLoader(Data(), num_workers={workers}))\n"
        )
        died = python([script])
        assert died.returncode == 1 and ("worker process" in died.stderr) == bool(workers)
        assert the_command(died).endswith(f"--for {RELEASE} {script}")

    def test_an_exception_of_torch_multiprocessing_prints_the_hint_once(self, python, script):
        script.write_text(
            "import torch, torch.multiprocessing\ndef work(rank):\n    " + BREAKS + "\n"
            "if __name__ == '__main__':\n    torch.multiprocessing.spawn(work, nprocs=2)\n"
        )
        assert the_command(python([script])).endswith(f"--for {RELEASE} {script}")

    @pytest.mark.skipif(HERE < (1, 10), reason="torchrun exists since torch 1.10")
    @pytest.mark.parametrize("record", ["", "@torch.distributed.elastic.multiprocessing.errors.record\n"])
    def test_two_ranks_under_torchrun_print_one_hint_with_the_torchrun_command(self, python, script, record):
        script.write_text(
            f"import torch.distributed.elastic.multiprocessing.errors\n{record}def main():\n    {BREAKS}\nmain()\n"
        )
        # When torchrun notices that one rank died, it kills the other one, which may be rank 0.
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--monitor_interval=4"]
        died = python([*torchrun, script, "-x"], env={"OMP_NUM_THREADS": "1"})
        assert died.returncode == 1
        assert died.stderr.count("\nshim: ") == 1
        words = re.escape(" ".join(map(str, [sys.executable, "-m shim run --for", RELEASE, *torchrun, script, "-x"])))
        assert re.search(f"^    {words}$", died.stderr, re.MULTILINE), died.stderr

    @pytest.mark.parametrize("rank, times", [("0", 1), ("1", 0)])
    def test_under_another_launcher_only_rank_0_prints_the_hint(self, python, script, rank, times):
        died = python([script], env={"RANK": rank, "LOCAL_RANK": "0"})
        assert died.returncode == 1 and len(said(died)) == times
        if times:
            assert the_command(died) == f"SHIM_FOR={RELEASE} in front of the command that started the job"

    def test_a_child_that_is_waited_for(self, python, script, tmp_path):
        starts = f"import subprocess, sys, torch\nsubprocess.check_call([sys.executable, {str(script)!r}])\n"
        (tmp_path / "start.py").write_text(starts)
        died = python([tmp_path / "start.py"])
        assert died.returncode == 1 and died.stderr.count("\nshim: ") == 1
        assert f"--for {RELEASE} {script}\n" in died.stderr
