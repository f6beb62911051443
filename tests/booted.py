"""A fresh Debian 13 that runs systemd as its first process, in a container of this machine and a network of its own.

The root file system is made once and kept (`AI_EMPLOYEE_TEST_CACHE`, else below `~/.cache`): debootstrap, the packages
that `deploy.sh` wants downloaded but not installed, and the Python wheels. Each machine is an overlay over it, so it
begins as new, needs no network, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.servers import eventually
from utils.settings import PROJECT_ROOT

_SUITE = "trixie"
_PYTHON = "3.13"  # of that suite
_SYSTEM = "systemd,systemd-sysv,dbus,ca-certificates,libpam-systemd,iproute2,procps,curl"
_OF_THE_TEST = ("openssh-server", "openssl", "pebble", "sudo")
_WHEELS = "opt/wheels"
_REBOOT = 133  # what systemd-nspawn ends with
_TOOLS = ("debootstrap", "systemd-nspawn", "ip", "nsenter", "mount")


def why_not() -> str:
    """Why no machine can be booted here; empty where one can."""
    if os.geteuid() != 0:
        return "root is needed to boot a container"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def wanted_packages() -> list[str]:
    """What `deploy.sh` installs."""
    text = (PROJECT_ROOT / "scripts/cloud/lib/install.sh").read_text()
    found = re.search(r'^PACKAGES="([^"]+)"', text, re.MULTILINE)
    assert found
    return [*found[1].split(), "certbot"]


def base() -> Path:
    """The root file system that machines begin from; made where it is not there (some minutes, needs the network)."""
    requirements = [PROJECT_ROOT / "requirements.txt", PROJECT_ROOT / "scripts/cloud/requirements-node.txt"]
    parts = [_SUITE, _SYSTEM, *_OF_THE_TEST, *wanted_packages(), *(path.read_text() for path in requirements)]
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("AI_EMPLOYEE_TEST_CACHE") or Path.home() / ".cache" / "ai-employee-tests")
    root = cache / f"{_SUITE}-{name}"
    if root.is_dir():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{_SUITE}-making-", dir=cache))
    try:
        _run("debootstrap", "--variant=minbase", f"--include={_SYSTEM}", _SUITE, str(making))
        making.chmod(0o755)
        (making / "etc/hostname").unlink(missing_ok=True)
        (making / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        (making / "etc/apt/apt.conf.d/keep").write_text('Binary::apt::APT::Keep-Downloaded-Packages "true";\n')
        install = ("chroot", str(making), "apt-get", "install", "-y", "-qq", "--no-install-recommends")
        _run("chroot", str(making), "apt-get", "update", "-qq")
        _run(*install, *_OF_THE_TEST)
        _run(*install, "-d", *wanted_packages())
        (making / _WHEELS).mkdir(parents=True)
        platforms = [f"--platform={name}_x86_64" for name in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
        for path in requirements:
            _run(
                *("python3", "-m", "pip", "download", "-q", "-d", str(making / _WHEELS), "-r", str(path)),
                *("--only-binary", ":all:", "--python-version", _PYTHON, "--platform=any", *platforms),
            )
        (making / "etc/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = /{_WHEELS}\n")
        making.rename(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return root


class Machine:
    """A machine that is on. `root` is its file system as seen from here."""

    def __init__(self, home: Path) -> None:
        self.root = home / "root"
        self._name = f"ai-boot-{os.getpid()}"
        self._log = home / "console.log"
        self._held = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        with contextlib.ExitStack() as held:
            upper, work = home / "upper", home / "work"
            for folder in (self.root, upper, work):
                folder.mkdir()
            options = f"lowerdir={base()},upperdir={upper},workdir={work}"
            _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
            held.callback(_run, "umount", str(self.root))
            _run("ip", "netns", "add", self._name)
            held.callback(_run, "ip", "netns", "del", self._name)
            _run("ip", "-n", self._name, "link", "set", "lo", "up")
            self._held = held.pop_all()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            self.off()
        finally:
            self._held.close()

    def boot(self) -> None:
        """Switch it on, and wait until systemd says that all is started."""
        place = Path("/run/systemd/nspawn")
        place.mkdir(parents=True, exist_ok=True)
        command = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit", "--boot"]
        command += ["--console=pipe", f"--network-namespace-path=/run/netns/{self._name}", "--link-journal=no"]
        command += ["--capability=CAP_NET_ADMIN"]  # a firewall of its own
        environ = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._leader = eventually(self._find_leader, deadline=30, what="systemd in the container")
        eventually(self._is_running, deadline=90, what="the end of the boot")

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as root, with nothing of our environment."""
        inside = ["nsenter", "-t", str(self._leader), "-a", "env", "-i", "HOME=/root", "TERM=dumb", "LANG=C.UTF-8"]
        inside += ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", *(f"{name}={value}" for name, value in environ.items())]
        return subprocess.run(
            [*inside, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def reboot(self) -> None:
        """Restart it the way `reboot` does."""
        self.run("systemctl", "reboot")
        assert self._process is not None
        assert self._process.wait(90) == _REBOOT
        self.boot()

    def off(self) -> None:
        """Switch it off, by its own shutdown; by force where it does not listen."""
        if self._process is None or self._process.poll() is not None:
            return
        self.run("systemctl", "poweroff")
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(30)

    def _is_running(self) -> bool:
        return self.run("systemctl", "is-system-running", "--wait").stdout.strip() in ("running", "degraded")

    def _find_leader(self) -> int | None:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return None


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}"
