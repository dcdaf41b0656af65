"""Whether other processes use the processors, read from /proc, and waiting until they do not."""
import dataclasses
import os
import pathlib
import time

from peers.failure import INTERNAL, Failure

PROC = pathlib.Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# All other processes together may use so many times the share of one: a quiet machine is never idle.
TOTAL_FACTOR = 2
USUAL_SHARE = 0.05
SAY_AGAIN_S = 30


@dataclasses.dataclass
class Snapshot:
    busy_s: float  # of all processors together since the start of the machine, steal left out
    steal_s: float  # taken by the hypervisor
    processes: dict  # (pid, start) -> (name, CPU seconds)


def process_times(pid, proc=PROC):
    """((pid, start), (name, CPU seconds)) of a process, None when it has ended."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]  # which may itself hold spaces and parentheses
    fields = text[text.rindex(")") + 2:].split()
    return (int(pid), int(fields[19])), (name, (int(fields[11]) + int(fields[12])) / TICKS_PER_S)


def snapshot(proc=PROC):
    with open(proc / "stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in file.readline().split()[1:9])
    found = (process_times(entry, proc) for entry in os.listdir(proc) if entry.isdigit())
    return Snapshot((user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S,
                    dict(item for item in found if item))


def disturbance(before, after, elapsed_s, own_pid, share):
    """What uses more processors than it may between two snapshots, in words; None if nothing does."""
    used = {key: (name, (cpu_s - before.processes.get(key, (name, 0.0))[1]) / elapsed_s)
            for key, (name, cpu_s) in after.processes.items()}
    own = sum(processors for (pid, _), (_, processors) in used.items() if pid == own_pid)
    (pid, _), (name, most) = max(((key, value) for key, value in used.items() if key[0] != own_pid),
                                 key=lambda item: item[1][1], default=((0, 0), ("", 0.0)))
    if most > share:
        return f"process {pid} ({name!r}) uses {most:.2f} of a processor, at most {share:g} wanted"
    others = (after.busy_s - before.busy_s) / elapsed_s - own
    if others > TOTAL_FACTOR * share:
        return (f"other processes together use {others:.2f} of a processor, at most {TOTAL_FACTOR * share:g} "
                f"wanted (most of it {name!r}, {most:.2f})")
    return None


class Waiter:
    """Waits for a quiet machine; its patience is for the whole wait before one measurement."""

    def __init__(self, share, seconds, patience_s, say, proc=PROC, clock=time.monotonic, sleep=time.sleep):
        self.share, self.seconds, self.patience_s, self.say = share, seconds, patience_s, say
        self.proc, self.clock, self.sleep = proc, clock, sleep

    def wait(self):
        start = self.clock()
        said_at = None
        while True:
            before, before_s = snapshot(self.proc), self.clock()
            self.sleep(self.seconds)
            reason = disturbance(before, snapshot(self.proc), self.clock() - before_s, os.getpid(), self.share)
            if reason is None:
                return
            waited_s = self.clock() - start
            if waited_s > self.patience_s:
                raise Failure(INTERNAL, f"gave up after waiting {waited_s:.0f} s for a quiet machine: {reason}; end "
                              "it, or allow more (--quiet-share) or wait longer (--patience)")
            if said_at is None or self.clock() - said_at >= SAY_AGAIN_S:
                said_at = self.clock()
                self.say(f"waiting for a quiet machine: {reason}; {self.patience_s - waited_s:.0f} s of patience left")


class Watch:
    """How much of the machine others take while something of ours runs."""

    def __init__(self, own_cpu_s, proc=PROC, clock=time.monotonic):
        """own_cpu_s: a function that says how many CPU seconds this program and its children have used."""
        self.own_cpu_s, self.proc, self.clock = own_cpu_s, proc, clock
        self.first, self.own_first, self.start = snapshot(proc), own_cpu_s(), clock()

    def stop(self):
        """(processors that others used, processors that the hypervisor took), on average."""
        last, own, elapsed = snapshot(self.proc), self.own_cpu_s() - self.own_first, self.clock() - self.start
        others = max(0.0, last.busy_s - self.first.busy_s - own)
        return others / elapsed, max(0.0, last.steal_s - self.first.steal_s) / elapsed
