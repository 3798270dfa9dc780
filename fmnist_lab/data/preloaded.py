"""Imported by the process that a sweep's workers are forked from: reads their images once.

So workers share these pages of memory, and none of them reads, splits and checks the images itself.
A trial that asks for other images, or another split, reads its own.
"""

import contextlib
import json
import os

from fmnist_lab import data

if wanted := os.environ.get(data.PRELOADED):
    with contextlib.suppress(Exception):  # the trial that needs them says better what is wrong
        data.load(data.DataConfig(**json.loads(wanted)))
