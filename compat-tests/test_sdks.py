"""The AWS SDKs for Go, JavaScript and Java: each has a program in `sdk/` that tries all behaviours of `sdk/behaviours.json`.

A program gets the server's address and credentials in SDK_ENDPOINT, SDK_ACCESS_KEY and SDK_SECRET_KEY, and as arguments the
names of behaviours, if it is not to try all. It prints a line of JSON for each: its name, whether it is ok, and a message if
not. The SDK for Rust is tried by tests/sdk.rs, with the same list."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import server as servers
from support.clients import program
from support.process import die_with_parent

SOURCES = Path(__file__).resolve().parent / "sdk"
BEHAVIOURS = json.loads((SOURCES / "behaviours.json").read_text())
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or servers.ROOT / "target") / "sdk"
# pytest.ini gives a test 300.
BUILD_SECONDS = RUN_SECONDS = 280


def run(command, where, env=None, timeout=BUILD_SECONDS):
    """Runs what must succeed."""
    environment = servers.clean_environment() | (env or {})
    done = subprocess.run(
        [str(part) for part in command],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        preexec_fn=die_with_parent,
        check=False,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said[-6000:]}"
    return done.stdout.decode()


def build_go(source, built):
    """Compiles it; modules and their compiled packages are kept where Go keeps them."""
    # Writable, so that whoever cleans up can remove them.
    flags = {"GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw -mod=readonly".strip()}
    run([program("go"), "build", "-o", built / "suite", "."], source, flags)


def build_js(source, built):
    """Installs what package-lock.json pins, beside a copy of the suite."""
    for path in [*source.glob("*.mjs"), *source.glob("package*.json")]:
        shutil.copy(path, built)
    # Nothing that a package brings is run while it is installed.
    run([program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"], built)


def build_java(source, built):
    """Compiles it; jars are kept where Maven keeps them, and a file of arguments says where that is."""
    classpath = built / "classpath"
    goals = ["compile", "dependency:build-classpath", f"-Dmdep.outputFile={classpath}"]
    run([program("mvn"), "-q", "-B", "--no-transfer-progress", f"-Dsdk.build={built}", *goals], source)
    (built / "arguments").write_text(f'-cp "{built / "classes"}:{classpath.read_text()}"\nMain\n')


# How a suite is built, and then run where it was built.
BUILDS = {"go": build_go, "js": build_js, "java": build_java}
COMMANDS = {
    "go": ["./suite"],
    "js": ["node", "--no-warnings", "main.mjs"],
    # A short run: better compiled quickly than well.
    "java": ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", "@arguments"],
}


@functools.cache
def build(sdk):
    """Builds an SDK's suite below target/, if it or what it is made of changed since; answers where it is."""
    source, built = SOURCES / sdk, TARGET / sdk
    made_of = hashlib.sha256()
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        made_of.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    stamp = built / "made-of"
    if not stamp.exists() or stamp.read_text() != made_of.hexdigest():
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir(parents=True)
        BUILDS[sdk](source, built)
        stamp.write_text(made_of.hexdigest())
    return built


@functools.cache
def report(sdk, endpoint, access_key, secret_key):
    """What an SDK's suite has to say about a server: {behaviour: None, or what is wrong}."""
    built = build(sdk)
    given = {"SDK_ENDPOINT": endpoint, "SDK_ACCESS_KEY": access_key, "SDK_SECRET_KEY": secret_key}
    lines = [json.loads(line) for line in run(COMMANDS[sdk], built, given, RUN_SECONDS).splitlines()]
    names = [line["name"] for line in lines]
    assert len(names) == len(set(names)), f"reported twice: {names}"
    return {line["name"]: None if line["ok"] is True else line["message"] or "not ok" for line in lines}


def report_of(sdk, server):
    return report(sdk, server.endpoint, server.access_key, server.secret_key)


@pytest.mark.parametrize("sdk", BUILDS)
def test_a_suite_is_built(sdk):
    """Before any runs, so that each of the two has its own time."""
    build(sdk)


@pytest.mark.parametrize("sdk", BUILDS)
def test_a_suite_tries_the_whole_list(sdk, server):
    assert sorted(report_of(sdk, server)) == sorted(BEHAVIOURS)


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("sdk", BUILDS)
def test_behaviour(sdk, server, name):
    found = report_of(sdk, server)
    assert name in found, f"the suite does not try it: {BEHAVIOURS[name]}"
    assert found[name] is None, f"{BEHAVIOURS[name]}\n{found[name]}"
