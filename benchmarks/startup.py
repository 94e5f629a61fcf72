"""CPU time of ``import gossan`` beyond NumPy and pandas, and wall time of ``gossan --help``.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
CPU = "import time; start = time.process_time(); {}; print(time.process_time() - start)"


def cpu_seconds(statement: str, repeats: int = 5) -> float:
    """Least CPU time of a statement in a fresh interpreter."""
    command = [sys.executable, "-c", CPU.format(statement)]
    return min(float(subprocess.check_output(command)) for _ in range(repeats))


def help_seconds(repeats: int = 5) -> float:
    """Least wall time of ``gossan --help``."""
    script = Path(sys.executable).parent / "gossan"
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([script, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    peer = cpu_seconds("import numpy, pandas")
    both = cpu_seconds("import numpy, pandas, gossan")
    table = pd.DataFrame(
        [
            {"what": "import numpy, pandas (CPU s)", "seconds": round(peer, 3)},
            {"what": "import gossan beyond them (CPU s)", "seconds": round(both - peer, 3)},
            {"what": "gossan --help (wall s)", "seconds": round(help_seconds(), 3)},
        ]
    )
    print(table.to_string(index=False))
    table.to_csv(HERE / "startup.csv", index=False)


if __name__ == "__main__":
    main()
