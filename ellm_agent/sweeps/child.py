"""One run of a sweep, in a process that ends with the sweep's: ``python -m ellm_agent.sweeps.child PARENT OPTION...``.

The options behind the parent's process id are those of ``run_crafter.py``. A killed sweep cannot end its runs, so each
run looks after its parent.
"""

from __future__ import annotations

import os
import sys
import threading
import time

INTERVAL = 0.2  # seconds between looks


def end_with(parent: int) -> None:
    """Ends this process soon after its parent has ended.

    Args:
        parent: process id; if it is no longer the parent, the sweep has ended already.
    """
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(int(sys.argv.pop(1)),), daemon=True).start()
    from ellm_agent.run_commands import experiment

    experiment(__doc__)
