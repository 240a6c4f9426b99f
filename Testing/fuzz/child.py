"""A process that tries mutations: ``python -m Testing.fuzz.child FOLDER SEED FIRST COUNT JOURNAL``.

Each mutation ends in a result or a `KidneySegError`; anything else is written down as a crash with its traceback. The
number of the mutation at work stands in the journal, so that the parent knows which one took the process down. The
process has a limit of memory, and each mutation one of processor time.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

#: What a mutation may take beyond what the idle process has: the stated bound.
MEMORY_BYTES = 1 << 30
#: Processor time of one mutation, after which the system ends the process.
SECONDS = 20.0


def main(folder: Path, seed: int, first: int, count: int, journal: Path) -> None:
    faulthandler.enable()
    # A mutation that takes too long tells where it was before the system ends the process.
    # Readers turn the standard error stream away meanwhile, so it has a stream of its own.
    words = os.fdopen(os.dup(2), "w")
    faulthandler.register(signal.SIGPROF, file=words, chain=True)
    os.environ["KIDNEYSEG_HOME"] = str(folder / "home")
    from KidneySegLib.errors import KidneySegError
    from KidneySegLib.worker_parts.protocol import ProtocolError
    from Testing.fuzz.targets import Targets

    folder.mkdir(parents=True, exist_ok=True)
    targets = Targets(folder).all()
    names = list(targets)
    shares = [targets[name][1] for name in names]
    for name in names:  # warm imports, so that the limit is that of the work
        with contextlib.suppress(Exception):
            targets[name][0](random.Random(0))
    _limit()
    ends: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    crashes: list[dict[str, Any]] = []
    slowest_s, slowest = 0.0, -1
    at_work = os.open(journal, os.O_RDWR | os.O_CREAT)
    for index in range(first, first + count):
        os.pwrite(at_work, f"{index:12d}".encode(), 0)
        rng = random.Random(f"{seed} {index}")
        name = rng.choices(names, shares)[0]
        kinds[name] += 1
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        begin_s = time.process_time()
        try:
            targets[name][0](rng)
            ends["result"] += 1
        except (KidneySegError, ProtocolError) as error:
            if _by_memory(error):
                crashes.append({"mutation": index, "target": name, "what": f"memory: {error}"})
                ends["memory"] += 1
            else:
                ends["error"] += 1
        except BaseException as error:
            ends["crash"] += 1
            text = "".join(traceback.format_exception(error))[-3000:]
            crashes.append({"mutation": index, "target": name, "what": repr(error)[:200], "traceback": text})
        seconds = time.process_time() - begin_s
        if seconds > slowest_s:
            slowest_s, slowest = seconds, index
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(
        json.dumps(
            {
                "ends": ends,
                "kinds": kinds,
                "crashes": crashes,
                "slowest_s": round(slowest_s, 2),
                "slowest": slowest,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


def _limit() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    # A thread's stack is address space too, and readers start some.
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
