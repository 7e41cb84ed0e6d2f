"""The real server, as a child process."""

import http.client
import os
import re
import secrets
import signal
import ssl
import subprocess
import time
from pathlib import Path

from .process import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
START_SECONDS = 60
_ADDRESS = re.compile(r"\b127\.0\.0\.1:([1-9]\d*)")
_running = []


def binary():
    """The program under test: NINEFOLD_BIN, else the newest that cargo built."""
    named = os.environ.get("NINEFOLD_BIN")
    if named:
        path = Path(named).resolve()
        if not os.access(path, os.X_OK):
            raise RuntimeError(f"NINEFOLD_BIN names no program: {path}")
        return path
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "debug/ninefold", target / "release/ninefold") if os.access(path, os.X_OK)]
    if not built:
        raise RuntimeError(f"no ninefold program in {target}: run tests/run, or cargo build and then again")
    return max(built, key=lambda path: path.stat().st_mtime)


def clean_environment():
    """Our environment without anything that configures a server or a client."""
    prefixes = (
        "NINEFOLD_",
        "MINIO_",
        "AWS_",
        "RCLONE_",
        "DATABASE_URL",
        "RUST_LOG",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    )
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(prefixes)}


def self_signed(directory):
    """Makes a certificate for 127.0.0.1 and its key, by openssl; answers both files."""
    certificate, key = Path(directory) / "cert.pem", Path(directory) / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ninefold"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run(
        [*command.split(), "-addext", names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key


class Server:
    """A server on a directory of its own. It can be stopped, killed and started again on the same data and port."""

    def __init__(self, home, *, database_url=None, args=(), env=None, credentials=True, tls=None):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.data = self.home / "data"
        self.database_url = database_url
        self.args = list(args)
        # Certificate and key, where HTTPS is served.
        self.tls = tls
        if tls:
            self.args += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
        self.extra_env = dict(env or {})
        self.access_key = self.secret_key = None
        if credentials:
            self.access_key, self.secret_key = "compat-tests", secrets.token_hex(20)
        self.port = None
        self.process = None
        self.starts = 0

    # --- life

    def spawn(self):
        """Starts the program without waiting for anything."""
        env = clean_environment()
        if self.access_key:
            env |= {"NINEFOLD_ROOT_USER": self.access_key, "NINEFOLD_ROOT_PASSWORD": self.secret_key}
        if self.database_url:
            env["NINEFOLD_DATABASE_URL"] = self.database_url
        env |= self.extra_env
        command = [str(binary()), "serve", "--listen", f"127.0.0.1:{self.port or 0}", *self.args]
        self.starts += 1
        with open(self.log, "wb") as log:
            # The data directory is left to its default, ./data: what a person gets who says nothing.
            self.process = subprocess.Popen(
                command,
                cwd=self.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        _running.append(self)
        return self

    def start(self):
        """Starts the program and returns once it is ready."""
        self.spawn()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode} at start:\n{self.output}")
            if self.port is None:
                found = _ADDRESS.search(self.output)
                self.port = int(found.group(1)) if found else None
            if self.port and self.health("ready") == 200:
                return self
            time.sleep(0.02)
        raise AssertionError(f"the server was not ready after {START_SECONDS} s:\n{self.output}")

    def send_signal(self, number):
        """Sends a signal to the program."""
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """Waits for the program's end; answers its exit code."""
        return self.process.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=60):
        """Asks the program to end; answers its exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        try:
            return self.wait(timeout)
        finally:
            self._forget()

    def kill(self):
        """Ends the program without its knowing, as a crash does."""
        self.process.kill()
        self.process.wait()
        self._forget()

    def _forget(self):
        if self in _running and self.process.poll() is not None:
            _running.remove(self)

    # --- what one sees of it

    @property
    def log(self):
        """Where what it prints in this start goes."""
        return self.home / f"server.{self.starts}.log"

    @property
    def output(self):
        """What it has printed since this start."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def endpoint(self):
        """The URL that clients are given."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def volumes(self):
        """The directories of its nine volumes, v1 to v9."""
        return [self.data / "volumes" / f"v{number}" for number in range(1, 10)]

    def shard_files(self, volumes=None):
        """All shard files on these volumes (all nine if not said)."""
        return sorted(
            path for volume in volumes or self.volumes for path in (volume / "shards").glob("*/*") if path.is_file()
        )

    def health(self, which, timeout=10):
        """The status of /health/`which`; None if nobody answers."""
        if self.tls:
            trusting = ssl.create_default_context(cafile=self.tls[0])
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=trusting)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", f"/health/{which}")
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def peak_memory(self):
        """The most memory that was resident since the program's start, in bytes (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE).group(1)) << 10


def end_all():
    """Kills whatever a test left running; answers how many that were."""
    left = list(_running)
    for server in left:
        server.kill()
    return len(left)
