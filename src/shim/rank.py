"""The rank of this process in a distributed job. Only rank 0 prints warnings."""

from __future__ import annotations

import sys

from .import_hook import text

#: The environment variables in which launchers set the rank. The first one that holds a number counts.
RANKS = (
    # torchrun. torch reads it, too:
    # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/distributed/rendezvous.py#L269
    "RANK",
    "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMIX_RANK",
    "PMI_RANK",  # MPICH, Intel MPI, Cray
    "MV2_COMM_WORLD_RANK",  # MVAPICH
    "MPI_RANKID",
    "PALS_RANKID",
    "FLUX_TASK_RANK",
    "JSM_NAMESPACE_RANK",  # jsrun
    "HOROVOD_RANK",
    "SLURM_PROCID",  # srun
    "ALPS_APP_PE",  # aprun
    "LOCAL_RANK",  # the child processes of Lightning, which set RANK later
)


def is_rank_0() -> bool:
    """Tell whether this process has rank 0, or no rank.

    torch.distributed knows the rank once it is initialized. Before that, the launcher's variables do.
    """
    try:
        distributed = sys.modules["torch.distributed"]
        if distributed.is_available() and distributed.is_initialized():
            return bool(distributed.get_rank() == 0)
    except Exception:  # it is being imported, or is another object under this name
        pass
    numbers = map(text, RANKS)
    rank = next((number for number in numbers if number.isascii() and number.isdigit()), "0")
    return not rank.strip("0")
