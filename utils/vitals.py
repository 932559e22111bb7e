"""The host and the processes of the gateway, looked at with psutil when metrics are asked for.

Prometheus's own process collector knows one process and is silent where several workers share
their metrics; this one sees the whole family (master, workers, and what they started) from
whichever worker answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from prometheus_client.core import Metric

from utils.metrics import reading

Rows = dict[tuple[str, ...], float]

_MODES = ("user", "system", "idle", "iowait", "steal")


class Vitals:
    """A `utils.metrics.Reader`. `folders` are watched for room, by what they are for."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)

    def collect(self) -> Iterator[Metric]:
        """Host first, then the processes."""
        yield from self._host()
        yield from _processes(family())

    def _host(self) -> Iterator[Metric]:
        cpu = psutil.cpu_times()
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        yield reading(
            "openalgo_host_cpu_seconds_total", "Time of all processors, by what they did.",
            ("mode",), {(mode,): getattr(cpu, mode, 0.0) for mode in _MODES}, counts=True,
        )  # fmt: skip
        yield reading(
            "openalgo_host_cpus", "Processors.", rows={(): psutil.cpu_count() or 1}
        )
        yield reading("openalgo_host_load1", "Load, one minute.", rows={(): os.getloadavg()[0]})
        yield reading(
            "openalgo_host_memory_bytes", "Memory of the host.", ("state",),
            {("total",): memory.total, ("available",): memory.available},
        )  # fmt: skip
        yield reading("openalgo_host_swap_used_bytes", "Swap in use.", rows={(): swap.used})
        yield reading(
            "openalgo_host_disk_bytes", "Room where the folders of the gateway lie.",
            ("folder", "state"), self._room(),
        )  # fmt: skip
        yield reading(
            "openalgo_host_disk_io_bytes_total", "Bytes read from and written to disks.",
            ("direction",), _disk_io(), counts=True,
        )  # fmt: skip
        network = psutil.net_io_counters()
        yield reading(
            "openalgo_host_network_bytes_total", "Bytes received and sent.", ("direction",),
            {("received",): network.bytes_recv, ("sent",): network.bytes_sent}, counts=True,
        )  # fmt: skip
        yield reading(
            "openalgo_host_processes", "Processes on the host.", rows={(): len(psutil.pids())}
        )

    def _room(self) -> Rows:
        rows: Rows = {}
        for name, folder in self._folders.items():
            there = next((path for path in (folder, *folder.parents) if path.exists()), None)
            if there is not None:
                usage = psutil.disk_usage(str(there))
                rows[name, "total"], rows[name, "free"] = usage.total, usage.free
        return rows


def family() -> dict[psutil.Process, str]:
    """The processes of this gateway and their roles: "master", "worker", "helper"."""
    me = psutil.Process()
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return {me: "worker", **dict.fromkeys(_children(me), "helper")}
    found: dict[psutil.Process, str] = {}
    with suppress(psutil.Error):
        master = psutil.Process(os.getppid())
        found[master] = "master"
        for worker in _children(master):
            found[worker] = "worker"
            found.update(dict.fromkeys(_children(worker), "helper"))
    return found or {me: "worker"}


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children()
    return []


def _disk_io() -> Rows:
    counters = psutil.disk_io_counters()
    if counters is None:  # a container may see no disks
        return {}
    return {("read",): counters.read_bytes, ("written",): counters.write_bytes}


def _processes(members: Mapping[psutil.Process, str]) -> Iterable[Metric]:
    labels = ("role", "pid")

    def rows(of: Callable[[psutil.Process], float]) -> Rows:
        found: Rows = {}
        for process, role in members.items():
            with suppress(psutil.Error):
                found[role, str(process.pid)] = of(process)
        return found

    def cpu(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    yield reading(
        "openalgo_process_cpu_seconds_total", "Processor time of a process.", labels, rows(cpu),
        counts=True,
    )  # fmt: skip
    yield reading(
        "openalgo_process_resident_memory_bytes", "Memory that a process holds.", labels,
        rows(lambda process: float(process.memory_info().rss)),
    )  # fmt: skip
    yield reading(
        "openalgo_process_open_fds", "File descriptors that a process has open.", labels,
        rows(lambda process: float(process.num_fds())),
    )  # fmt: skip
    yield reading(
        "openalgo_process_threads", "Threads of a process.", labels,
        rows(lambda process: float(process.num_threads())),
    )  # fmt: skip
    yield reading(
        "openalgo_process_start_timestamp_seconds", "When a process began (Unix time).", labels,
        rows(lambda process: process.create_time()),
    )  # fmt: skip
