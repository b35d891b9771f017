"""Do what a container engine would do with our Dockerfile and compose file, where there is none: by overlays, mount and
network namespaces, chroot and setpriv (util-linux), as root.

What differs: the base image is this machine's system with this test's Python at /usr/local, all containers share one
network (their names are names of loopback), and CPU and memory are not limited.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.dockerfile import Stage, Step, command, stages, variables

BUILD_DEADLINE_S: Final = 300.0
# Of this machine's root: links into /usr, and empty folders.
LINKS: Final = ("bin", "sbin", "lib", "lib64")
FOLDERS: Final = ("usr", "etc", "proc", "dev", "root", "tmp", "run", "var/lib", "opt")
CACHES: Final = {"/root/.cache/uv": "uv", "/root/.cache/pip": "pip"}
REGISTRIES: Final = (
    "PIP_CERT",
    "PIP_INDEX",
    "PIP_EXTRA",
    "UV_INDEX",
    "UV_DEFAULT",
    "SSL_",
    "REQUESTS_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
NETWORK: Final = """
import ctypes, fcntl, signal, socket, struct
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
lo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(lo, 0x8914, struct.pack("16sh", b"lo", 1 | 64))  # SIOCSIFFLAGS: up, running
print("up", flush=True)
signal.pause()
"""


def lacking() -> str:
    """What this machine lacks for it; empty when nothing."""
    programs = [name for name in ("unshare", "nsenter", "setpriv", "chroot") if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} (util-linux) not found"
    if os.geteuid() != 0:
        return "only root may mount and change root"
    done = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else f"unshare: {done.stderr.decode().strip()}"


@dataclass
class Layer:
    """What a stage has written: below `/`, and below `/usr/local`, which is an overlay of its own."""

    root: Path
    local: Path


@dataclass
class Built:
    """A finished stage."""

    layers: list[Layer]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def owner_of(self, path: str) -> tuple[int, int]:
        """Of a folder in the image; root where there is none."""
        for layer in self.layers:
            place = layer.root / path.lstrip("/")
            if place.exists():
                found = place.stat()
                return found.st_uid, found.st_gid
        return 0, 0


@dataclass(frozen=True)
class Mount:
    """A folder or a file of this machine in a container."""

    source: Path
    target: str
    read_only: bool = False


class Engine:
    """Build once, run many. `close` ends the network; whoever started processes ends them."""

    def __init__(self, context: Path, work: Path) -> None:
        self._context = context
        self._work = work
        self.stages = stages((context / "Dockerfile").read_text())
        self.built: dict[str, Built] = {}
        self._bare = self._folder("bare")
        for name in FOLDERS:
            (self._bare / name).mkdir(parents=True)
        (self._bare / "tmp").chmod(0o1777)
        for name in LINKS:
            (self._bare / name).symlink_to(f"usr/{name}")
        self.hosts = work / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self._network = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", NETWORK], stdout=subprocess.PIPE, text=True
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline() == "up\n"

    def close(self) -> None:
        self._network.kill()
        self._network.wait()
        assert self._network.stdout is not None
        self._network.stdout.close()

    def within(self, script: Sequence[str], *, connected: bool = True) -> list[str]:
        """A command that runs shell lines in a mount namespace of its own; `connected`: in the containers' network."""
        network = ["nsenter", f"--net=/proc/{self._network.pid}/ns/net"] if connected else []
        return [*network, "unshare", "--mount", "--propagation", "private", "bash", "-euc", "\n".join(script)]

    # -- build -------------------------------------------------------------------------------------------------------

    def build(self, name: str) -> Built:
        """A stage, after those it needs."""
        if name not in self.built:
            stage = self.stages[name]
            below = self.build(stage.base) if stage.base in self.stages else Built([])
            self.built[name] = self._build(stage, below)
        return self.built[name]

    def _build(self, stage: Stage, below: Built) -> Built:
        layer = Layer(self._folder(f"{stage.name}/root"), self._folder(f"{stage.name}/local"))
        made = Built(
            [layer, *below.layers],
            dict(below.environment),
            below.folder,
            below.user,
            list(below.entrypoint),
            list(below.health),
        )
        arguments: dict[str, str] = {}
        for step in stage.steps:
            match step.instruction:
                case "ARG":
                    arguments |= variables(step.rest)
                case "ENV":
                    made.environment |= variables(step.rest)
                case "WORKDIR":
                    made.folder = step.rest
                    (layer.root / made.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "USER":
                    made.user = step.rest
                case "ENTRYPOINT":
                    made.entrypoint = command(step.rest)
                case "HEALTHCHECK":
                    made.health = command(step.rest.partition("CMD ")[2])
                case "COPY":
                    self._copy(step, made, layer)
                case "RUN":
                    self._run(step, made, layer, arguments)
        return made

    def _copy(self, step: Step, made: Built, layer: Layer) -> None:
        *sources, target = step.rest.split()
        other = step.option("from")
        if other is None:
            self._copy_context(sources, layer.root / made.folder.lstrip("/") / target)
            return
        [source] = sources
        place = layer.root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        for one in reversed(self.build(other).layers):  # what is above replaces what is below; nothing was removed
            if (one.root / source.lstrip("/")).exists():
                found = f"{one.root / source.lstrip('/')}/."
                place.mkdir(exist_ok=True)
                subprocess.run(["cp", "--archive", "--link", "--force", found, str(place)], check=True)

    def _copy_context(self, sources: Sequence[str], place: Path) -> None:
        ignored = (self._context / ".dockerignore").read_text().split("\n")
        allowed = {line[1:] for line in ignored if line.startswith("!")}
        leave = shutil.ignore_patterns(*(line[3:] for line in ignored if line.startswith("**/")))
        for name in sources:
            assert name in allowed, f".dockerignore keeps {name} out"
            source = self._context / name
            if source.is_dir():
                shutil.copytree(source, place, ignore=leave, dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)

    def _run(self, step: Step, made: Built, layer: Layer, arguments: Mapping[str, str]) -> None:
        binds = []
        for option in step.options:
            target = dict(part.partition("=")[::2] for part in option.removeprefix("--mount=").split(","))["target"]
            binds.append(Mount(_cache(CACHES[target]), target))
        here = {name: value for name, value in os.environ.items() if name.upper().startswith(REGISTRIES)}
        environment = {**here, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **made.environment, **arguments}
        run = ["exec", "chroot", "root", "env", "-i", "-C", made.folder, *_pairs(environment), *command(step.rest)]
        script = [*self._script(made, binds, over=layer), shlex.join(run)]
        done = subprocess.run(
            self.within(script, connected=False), capture_output=True, text=True, check=False, timeout=BUILD_DEADLINE_S
        )
        assert done.returncode == 0, f"RUN {step.rest}\n{done.stdout}{done.stderr}"

    # -- run ---------------------------------------------------------------------------------------------------------

    def start(
        self,
        image: Built,
        *,
        arguments: Sequence[str],
        user: str,
        environment: Mapping[str, str],
        mounts: Iterable[Mount] = (),
        tmpfs: Iterable[str] = (),
        read_only: bool = True,
    ) -> list[str]:
        """The command line of a container's process: `arguments` as they are, without the entry point."""
        script = self._script(image, mounts)
        for target in tmpfs:
            path, _, options = target.partition(":")
            script.append(
                shlex.join(["mount", "-t", "tmpfs", *(["-o", options] if options else []), "tmpfs", f"root{path}"])
            )
        if read_only:
            script += [f"mount -o remount,ro {place}" for place in ("root/usr/local", "root/etc", "root")]
        uid, _, gid = (user or image.user).partition(":")
        given = {"PATH": "/usr/local/bin:/usr/bin:/bin", **image.environment, **environment}
        privileges = ["--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
        confined = ["setpriv", *privileges, "--bounding-set=-all", "--pdeathsig", "KILL"]
        script.append(
            shlex.join(
                ["exec", "chroot", "root", *confined, "env", "-i", "-C", image.folder, *_pairs(given), *arguments]
            )
        )
        return self.within(script)

    def _script(self, image: Built, mounts: Iterable[Mount], *, over: Layer | None = None) -> list[str]:
        """Shell lines that put the container's tree together at `root`, in a tmpfs. `over`: the layer to write to."""
        layers = image.layers[1:] if over is not None else image.layers
        lines = [f"mount -t tmpfs tmpfs {self._folder('mnt')}", f"cd {self._folder('mnt')}", "mkdir root up"]
        lines += self._overlay("root", [*(one.root for one in layers), self._bare], over.root if over else None)
        lines += ["mount --bind /usr root/usr", "mount -o remount,ro,bind root/usr"]
        lines += self._overlay(
            "root/usr/local", [*(one.local for one in layers), Path(sys.base_prefix)], over.local if over else None
        )
        lines += self._overlay("root/etc", [Path("/etc")], None)
        lines += [
            "mount --rbind /proc root/proc",
            "mount --rbind /dev root/dev",
            f"mount --bind {self.hosts} root/etc/hosts",
        ]
        lines.append("chroot root ldconfig")  # this Python's library before the system's, as in the python image
        for mount in mounts:
            target = f"root{mount.target}"
            lines.append(
                f"mkdir -p {target}" if mount.source.is_dir() else f"mkdir -p $(dirname {target}) && touch {target}"
            )
            lines.append(shlex.join(["mount", "--bind", str(mount.source), target]))
            if mount.read_only:
                lines.append(f"mount -o remount,ro,bind {target}")
        return lines

    def _overlay(self, place: str, lower: Sequence[Path], upper: Path | None) -> list[str]:
        """`upper` None: what is written is gone with the container."""
        name = place.replace("/", "-")
        if upper is None:
            lines, above = [f"mkdir up/{name} up/{name}-work"], f"upperdir=up/{name},workdir=up/{name}-work"
        else:
            lines, above = [], f"upperdir={upper},workdir={self._folder(f'work/{upper.parent.name}-{upper.name}')}"
        lowers = ":".join(map(str, lower))
        return [*lines, shlex.join(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lowers},{above}", place])]

    def _folder(self, name: str) -> Path:
        path = self._work / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def writable_by_others(folder: Path, uid: int) -> list[Path]:
    """What another user than root could change in a built tree."""
    return [
        path
        for path in folder.rglob("*")
        if not path.is_symlink() and (path.stat().st_uid == uid or path.stat().st_mode & stat.S_IWOTH)
    ]


def _cache(kind: str) -> Path:
    """Of this machine, so that a test fetches nothing twice."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(os.environ.get(f"{kind.upper()}_CACHE_DIR") or base / kind)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _pairs(environment: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]
