"""How gunicorn serves the gateway: `gunicorn --config config/gunicorn.py`.

One worker with 32 threads by default. Several workers of one host need nothing else: metrics are
then summed over all of them. Nothing is preloaded: HTTP clients, database connections and
schedulers must be made after the fork.

What systemd is told (`Type=notify`): ready when the first worker serves, alive by the workers, as
long as orders get through them (`utils.watchdog`). SIGUSR2 starts a new master from the folder that
the service was started from, with the release and the settings of that moment; once a worker of it
serves, it ends the old master, and until then both serve the same socket. Where the new one does
not come up, the old one goes on. SIGHUP replaces the workers of this master.

The chain of time-outs: a call to a broker (7 s) < a request (10 s) < `timeout` (30 s); a client's
idle connection (120 s) < `keepalive` (130 s), because a connection that the server closes first
looks to the client exactly like an order that was accepted and then lost.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils import systemd
from utils.config import ROOT, ConfigurationError, load_settings

systemd.take_over()
try:
    _settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

if _settings.web_concurrency > 1:
    os.environ.setdefault(
        "PROMETHEUS_MULTIPROC_DIR", str(_settings.state_dir / str(_settings.port) / "metrics")
    )

wsgi_app = "app:create_app()"
chdir = str(ROOT)
proc_name = "openalgo-gateway"

_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = [f"{_host}:{_settings.port}"]
worker_class = "gthread"
workers = _settings.web_concurrency
threads = _settings.web_threads
worker_connections = 1000
keepalive = 130
timeout = 30
graceful_timeout = 15
preload_app = False
max_requests = 0
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn's own files
forwarded_allow_ips = ",".join(_settings.trusted_proxies)
control_socket_disable = True

logger_class = "utils.gunicorn_log.GatewayLogger"
loglevel = _settings.log_level.lower()


def on_starting(server: Any) -> None:
    """Empty the folder of the workers' metrics: those of an earlier run would be added up."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and not _old_master():
        Path(folder).mkdir(parents=True, exist_ok=True)
        for left_over in Path(folder).glob("*.db"):
            left_over.unlink()


def on_reload(server: Any) -> None:
    """Announce the change of workers; the first new one that serves ends it."""
    systemd.notify(*systemd.reloading())


def post_worker_init(worker: Any) -> None:
    """Let the application start its background work, in the worker and after the fork."""
    _call(worker, "start_background")
    systemd.notify(
        systemd.READY,
        systemd.main_process(worker.ppid),
        systemd.status(f"worker {worker.pid} serves on {bind[0]}"),
    )
    old = _old_master()
    if old:
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGTERM)


def pre_exec(server: Any) -> None:
    """Run the new master by the Python of the folder that the service was started from.

    gunicorn would take the one that runs now, which belongs to the release of now: the first line
    of a script in a virtual environment names the release and not the link that leads to it.
    """
    python = Path(server.START_CTX["args"][1]).with_name("python")
    if python.is_absolute() and python.exists():
        server.START_CTX[0] = server.START_CTX["args"][0] = str(python)


def on_exit(server: Any) -> None:
    """Say that the service is about to end, unless another master serves: a newer, or an older."""
    if not server.reexec_pid and not _old_master():
        systemd.notify(systemd.STOPPING)


def worker_exit(server: Any, worker: Any) -> None:
    """Let the application end its background work and give back its connections."""
    _call(worker, "stop_background")


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess  # decides at its import where figures are kept

        multiprocess.mark_process_dead(worker.pid)


def _call(worker: Any, name: str) -> None:
    """Call a method that the application may have; a worker that failed to load has none."""
    method = getattr(getattr(worker, "wsgi", None), name, None)
    if method is not None:
        method(worker)


def _old_master() -> int:
    """The living master that this process's one is to replace (SIGUSR2), 0 when there is none."""
    old = int(os.environ.get("GUNICORN_PID") or 0)
    return old if old in (os.getppid(), _parent_of(os.getppid())) else 0


def _parent_of(pid: int) -> int:
    """The parent of a process, as Linux tells it; 0 where it does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[1])
