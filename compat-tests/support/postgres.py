"""A throw-away PostgreSQL cluster on loopback, for as long as the test run lasts."""

import contextlib
import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .process import die_with_parent, free_port

SUPERUSER = "ninefold"


def _binaries():
    """The directory that holds initdb and postgres: the newest installed, else that of the initdb in PATH."""

    def version(path):
        return [int(number) for number in re.findall(r"\d+", path)]

    for directory in sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=version, reverse=True):
        if os.access(os.path.join(directory, "initdb"), os.X_OK):
            return Path(directory)
    found = shutil.which("initdb")
    if found:
        return Path(os.path.realpath(found)).parent
    raise RuntimeError(
        "PostgreSQL's server binaries are missing: no initdb in PATH nor in /usr/lib/postgresql/*/bin. "
        "Install the package postgresql (tests/run does), then run again."
    )


def _account():
    """Whom PostgreSQL runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody to run PostgreSQL as")


class Postgres:
    """One cluster: its own directory, its own port, no password, gone at the end."""

    def __init__(self):
        self.bin = _binaries()
        self.account = _account()
        self.root = Path(tempfile.mkdtemp(prefix="ninefold-postgres-"))
        if self.account:
            os.chown(self.root, self.account["user"], self.account["group"])
        self.port = None
        self.process = None
        self._databases = 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self._environment = environment | {"LC_ALL": "C", "TZ": "UTC"}
        try:
            self._run("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def data(self):
        """The cluster's data directory."""
        return self.root / "data"

    def _run(self, program, *arguments):
        command = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            **self.account,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def start(self):
        """Starts the server, on the port it had before if it had one, and returns once it takes connections."""
        attempts = 1 if self.port else 5
        for _attempt in range(attempts):
            port = self.port or free_port()
            log = open(self.root / "log", "ab")  # noqa: SIM115 (closed below, the child keeps its own)
            with log:
                process = subprocess.Popen(
                    [
                        str(self.bin / "postgres"),
                        "-D",
                        str(self.data),
                        "-p",
                        str(port),
                        "-k",
                        str(self.root),
                        "-c",
                        "listen_addresses=127.0.0.1",
                        "-c",
                        "max_connections=200",
                    ],
                    cwd=self.root,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent,
                    **self.account,
                )
            self.process = process
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", port, "-U", SUPERUSER, "-d", "postgres")
                except RuntimeError:
                    time.sleep(0.05)
                    continue
                self.port = port
                return
            self.stop()
        raise RuntimeError(f"PostgreSQL did not start:\n{(self.root / 'log').read_text(errors='replace')[-4000:]}")

    def stop(self):
        """Stops the server at once for its clients, cleanly for its data; waits for the end."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(60)

    def pause(self):
        """Freezes every process of the cluster: connections stay open and nothing answers, as with a lost network."""
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        """Undoes `pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):  # a backend that has just ended
                os.kill(each, number)

    def database(self):
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", SUPERUSER, name)
        return f"postgres://{SUPERUSER}@127.0.0.1:{self.port}/{name}"

    def remove(self):
        """Stops the server and removes the cluster."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
