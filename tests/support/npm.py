"""Packages of npm that tests use, installed once for each lock file."""

import fcntl
import hashlib
import os
import shutil
import subprocess

import ctutor

BUILD = os.environ.get("CTUTOR_BUILD", os.path.join(ctutor.ROOT, "build", "asan"))


def packages(name):
    """The folder in which the packages of tests/NAME/package-lock.json are installed. Raises when they cannot be had."""
    source = os.path.join(ctutor.ROOT, "tests", name)
    with open(os.path.join(source, "package-lock.json"), "rb") as file:
        key = hashlib.sha256(file.read()).hexdigest()[:16]
    folder = os.path.join(BUILD, "npm", name + "-" + key)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = os.path.join(folder, "installed")
        if not os.path.exists(done):
            for file in ("package.json", "package-lock.json"):
                shutil.copy(os.path.join(source, file), folder)
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"], folder, 300)
            open(done, "w").close()
    return folder


def run(command, folder, seconds=60, env=None):
    """Its stdout; it must succeed."""
    try:
        done = subprocess.run(command, cwd=folder, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=seconds)
    except FileNotFoundError:
        raise AssertionError("%s is not installed: ./dev test installs it" % command[0]) from None
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout
