"""Worker processes end with the process that they work for."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

_BOSS = """
    import os, subprocess, sys, time
    code = (
        "import sys, time; from gossan.validate import workers;"
        "workers._SECONDS_BETWEEN_LOOKS = 0.1; workers.end_with(int(sys.argv[1]));"
        "print('watching', flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(os.getpid())])
    print(worker.pid, flush=True)
    time.sleep(60)
"""


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as file:  # noqa: PTH123
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_worker_ends_soon_after_its_parent_is_killed():
    """Killed outright, so that it can tell nobody."""
    boss = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_BOSS)], stdout=subprocess.PIPE, text=True
    )
    worker = int(boss.stdout.readline())
    assert boss.stdout.readline() == "watching\n"
    assert alive(worker)
    boss.send_signal(signal.SIGKILL)
    boss.wait()
    boss.stdout.close()
    for _ in range(300):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)
