"""Imported as the last module before workers are forked: keeps what they share shared.

A collection of garbage writes to every object that it looks at, and each write copies a page of
memory. The objects that are there when this module is imported are never looked at again.
"""

import gc

from fmnist_lab.foundation.memory import return_free_memory

gc.collect()
gc.freeze()
return_free_memory()
