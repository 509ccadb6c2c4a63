"""The pool's protocol as a transition system: `explore` runs every interleaving of it.

A state is the shared words and the place and locals of each thread. A step is one access to shared
memory. Names are those of `kcompile.codegen.llvm.pool`. Workers are alike, so states that differ in who is
who count as one. Accesses are whole and in order here: that the processor keeps to it where it matters is
argued there.
"""

from __future__ import annotations

from typing import NamedTuple

DONE = "done"
ASLEEP = {"epoch": "asleep on epoch", "left": "asleep on left"}
WOKEN = {"epoch": "look", "left": "doze"}


class Memory(NamedTuple):
    """The shared words, and what is not a word but true: work, the chunks done, as bits; over, how
    many launches the caller has left."""

    next: int = 0
    chunks: int = 0
    stop: bool = False
    left: int = 0
    nods: bool = False  # bit 31 of LEFT
    epoch: int = 0
    parked: int = 0
    job: int = -1  # the launch whose job is written
    work: int = 0
    over: int = 0

    @property
    def open(self) -> tuple[int, int, bool]:
        return self.next, self.chunks, self.stop

    @property
    def closed(self) -> bool:
        return self.next >= self.chunks


class Thread(NamedTuple):
    """at: the access it makes next. seen: what it read and compares with. own: chunks it has done."""

    at: str
    seen: tuple[int, ...] = ()
    chunk: int = -1
    launch: int = -1
    own: int = 0


class Next(NamedTuple):
    """A step's results. wake: a word, and how many of its sleepers the system wakes."""

    memory: Memory
    thread: Thread
    wake: tuple[str, int] = ("", 0)


class Fault(AssertionError):
    """The protocol did what it must not."""


class System(NamedTuple):
    """launches: the chunks of each. workers: how many. The switches, off, are faults to be found.
    recheck: a worker looks at OPEN again before it sleeps. wait: the caller waits for chunks in work.
    tell: the last worker wakes the caller. compare: a claim is an exchange of what was read."""

    launches: tuple[int, ...]
    workers: int
    recheck: bool = True
    wait: bool = True
    tell: bool = True
    compare: bool = True

    def worker(self, m: Memory, t: Thread) -> Next:
        match t.at:
            case "look" if m.stop:
                return Next(m, Thread(DONE))
            case "look" if m.closed:  # it spins, and goes to sleep whenever it likes
                return Next(m, Thread("read epoch"))
            case "look":
                return Next(m, Thread("claim", m.open))
            case "claim" if m.open != t.seen and self.compare:
                return Next(m, Thread("look"))
            case "claim":
                return Next(m._replace(next=t.seen[0] + 1), Thread("read job", chunk=t.seen[0]))
            case "read job":
                return Next(m, t._replace(at="compute", launch=m.job))
            case "compute":
                return Next(done(m, t), Thread("finish"))
            case "finish":
                told = m.left == 1 and m.nods and self.tell
                return Next(m._replace(left=m.left - 1), Thread("tell" if told else "look"))
            case "tell":
                return Next(m, Thread("look"), ("left", 1))
            case "read epoch":
                return Next(m, Thread("park", (m.epoch,)))
            case "park":
                return Next(m._replace(parked=m.parked + 1), t._replace(at="look again"))
            case "look again" if self.recheck and (m.stop or not m.closed):
                return Next(m, Thread("look"))
            case "look again":
                return Next(m, t._replace(at="sleep"))
            case "sleep":  # the system compares and sleeps at once
                return Next(m, Thread(ASLEEP["epoch"] if t.seen == (m.epoch,) else "look"))
        raise ValueError(t.at)

    def caller(self, m: Memory, t: Thread) -> Next:
        chunks = self.launches[t.launch] if t.launch < len(self.launches) else 0
        match t.at:
            case "write":
                return Next(m._replace(job=t.launch, left=chunks, nods=False), t._replace(at="publish"))
            case "publish":
                return Next(m._replace(next=1, chunks=chunks), t._replace(at="read parked"))
            case "read parked":
                count = min(m.parked, chunks - 1)
                return Next(m, Thread("take" if count else "compute", (count,), 0, t.launch))
            case "take":
                return Next(m._replace(parked=m.parked - t.seen[0]), t._replace(at="bump"))
            case "bump":
                return Next(m._replace(epoch=m.epoch + 1), t._replace(at="wake"))
            case "wake":
                return Next(m, t._replace(at="compute", seen=()), ("epoch", t.seen[0]))
            case "compute":
                return Next(done(m, t), Thread("look", launch=t.launch, own=t.own + 1))
            case "look" if m.closed:
                return Next(m, t._replace(at="count"))
            case "look":
                return Next(m, t._replace(at="claim", seen=m.open))
            case "claim" if m.open != t.seen:
                return Next(m, t._replace(at="look", seen=()))
            case "claim":
                return Next(m._replace(next=m.next + 1), t._replace(at="compute", seen=(), chunk=m.next))
            case "count":
                return Next(m._replace(left=m.left - t.own), Thread("await", launch=t.launch))
            case "await" | "doze" if m.left == 0 or not self.wait:
                return self.leave(m, t)
            case "await":  # it spins, and goes to sleep whenever it likes
                return Next(m._replace(nods=True), t._replace(at="doze"))
            case "doze":
                return Next(m, t._replace(at="sleep", seen=(m.left,)))
            case "sleep":
                return Next(m, Thread(ASLEEP["left"] if t.seen == (m.left,) else "doze", launch=t.launch))
            case "stop":
                return Next(m._replace(stop=True), t._replace(at="stop bump"))
            case "stop bump":
                return Next(m._replace(epoch=m.epoch + 1), Thread("wake all"))
            case "wake all":
                return Next(m, Thread(DONE), ("epoch", self.workers))
        raise ValueError(t.at)

    def leave(self, m: Memory, t: Thread) -> Next:
        missing = [s for s in range(self.launches[t.launch]) if not m.work & bit(t.launch, s)]
        if missing:
            raise Fault(f"the caller left launch {t.launch} before its chunks {missing} were done")
        following = t.launch + 1
        at = "write" if following < len(self.launches) else "stop"
        return Next(m._replace(over=following), Thread(at, launch=following))


def bit(launch: int, chunk: int) -> int:
    return 1 << 8 * launch + chunk


def done(m: Memory, t: Thread) -> Memory:
    """A chunk is computed."""
    if t.launch < m.over:
        raise Fault(f"chunk {t.chunk} of launch {t.launch} was computed after the launch")
    if m.work & bit(t.launch, t.chunk):
        raise Fault(f"chunk {t.chunk} of launch {t.launch} was computed twice")
    return m._replace(work=m.work | bit(t.launch, t.chunk))


State = tuple[Memory, Thread, tuple[Thread, ...]]


def successors(system: System, state: State) -> list[State]:
    memory, caller, workers = state
    found = []
    for number, thread in enumerate((caller, *workers)):
        if thread.at == DONE or thread.at in ASLEEP.values():
            continue
        after = (system.worker if number else system.caller)(memory, thread)
        threads = [caller, *workers]
        threads[number] = after.thread
        word, count = after.wake
        sleepers = [i for i, t in enumerate(threads) if word and t.at == ASLEEP[word]]
        for i in sleepers[:count]:
            threads[i] = threads[i]._replace(at=WOKEN[word])
        found.append((after.memory, threads[0], tuple(sorted(threads[1:]))))
    return found


def explore(system: System) -> int:
    """The number of states that can be reached. Raises Fault for a chunk that is computed twice, late or
    not at all, for more sleepers than PARKED says, and for a state in which nobody can go on."""
    first: State = (Memory(), Thread("write", launch=0), (Thread("look"),) * system.workers)
    found, todo = {first}, [first]
    while todo:
        state = todo.pop()
        memory, caller, workers = state
        asleep = sum(t.at == ASLEEP["epoch"] for t in workers)
        if asleep > memory.parked and caller.at not in ("bump", "wake"):
            raise Fault("more threads sleep than PARKED says, and nobody is about to wake them")
        following = successors(system, state)
        if not following and any(t.at != DONE for t in (caller, *workers)):
            raise Fault(f"nobody can go on: {caller.at}, {[t.at for t in workers]}")
        new = set(following) - found
        found |= new
        todo.extend(new)
    return len(found)
