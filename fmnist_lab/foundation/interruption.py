"""Whether the job of this process has been interrupted.

KeyboardInterrupt, raised in the midst of it, may come out of a library as an error of another
kind, or not at all. Code that handles an error of a trial looks here first.
"""

import threading

interrupted = threading.Event()  # until the next job begins
