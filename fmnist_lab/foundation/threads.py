"""How many threads a process computes with: sums of floats depend on it."""

import os

# Libraries that compute in parallel read one of these.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def threads() -> int:
    """Returns how many threads TensorFlow computes with in this process."""
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    here = getattr(os, "sched_getaffinity", None)  # Linux: a container may have fewer cores
    return len(here(0)) if here else os.cpu_count() or 1


def with_threads(count: int) -> dict[str, str]:
    """Returns the variables that make a new process compute with so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(count))
