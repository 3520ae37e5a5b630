"""Where the suite's files lie, and where Drydock keeps what it builds."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import drydock
from drydock.errors import UsageError

UMBRELLA = "genai-platform"
OWN_FOLDER = "drydock"
"""Holds environments/ and accounts/ in a repository whose charts are not the suite's."""


@dataclass(frozen=True)
class Project:
    """The folders of one suite.

    Attributes:
        root: holds charts/, values/ and ci/toolchain/.
        cache_dir: built tools, schemas and results, keyed by content; safe to delete but for deployments/, which holds
            the records and states of clusters that are up.
        home: a repository with environments of its own, beside the suite; None where the suite's are meant.
    """

    root: Path
    cache_dir: Path
    home: Path | None = None

    @property
    def base(self) -> Path:
        """The folder that paths in an environment's file are relative to."""
        return self.home or self.root

    @property
    def own_dir(self) -> Path:
        """Holds environments/ and accounts/."""
        return self.home / OWN_FOLDER if self.home else self.values_dir

    @property
    def environments_dir(self) -> Path:
        """One file for each environment."""
        return self.own_dir / "environments"

    @property
    def charts_dir(self) -> Path:
        """Sources of the charts."""
        return self.root / "charts"

    @property
    def values_dir(self) -> Path:
        """Environments and presets."""
        return self.root / "values"

    @property
    def toolchain_dir(self) -> Path:
        """Pinned Go modules of the tools."""
        return self.root / "ci" / "toolchain"

    @property
    def runs_dir(self) -> Path:
        """One folder for each rehearsal."""
        return self.cache_dir / "runs"

    @classmethod
    def discover(cls, start: Path | None = None) -> "Project":
        """Find the suite: $DRYDOCK_PROJECT, the folder or a parent of it, else the suite this package brings.

        A folder on the way up that holds drydock/environments/ has the environments, whatever the suite is.

        Raises:
            UsageError: $DRYDOCK_PROJECT names a folder without the suite's charts.
        """
        cache_dir = _cache_dir()
        here = (start or Path.cwd()).resolve()
        upwards = (here, *here.parents)
        home = next(
            (folder for folder in upwards if _is_suite(folder) or (folder / OWN_FOLDER / "environments").is_dir()), None
        )
        if home and _is_suite(home):
            home = None
        named = os.environ.get("DRYDOCK_PROJECT")
        if named:
            root = Path(named).expanduser().resolve()
            if not _is_suite(root):
                raise UsageError(
                    f"DRYDOCK_PROJECT={named} has no charts/{UMBRELLA}/Chart.yaml",
                    remedy="Point it at a checkout of the suite, or unset it to use the suite that drydock brings.",
                )
            return cls(root, cache_dir, home)
        for candidate in (*upwards, Path(__file__).resolve().parents[2]):
            if _is_suite(candidate):
                return cls(candidate, cache_dir, home)
        return cls(_unpack_bundled_suite(cache_dir), cache_dir, home)


def _is_suite(folder: Path) -> bool:
    return (folder / "charts" / UMBRELLA / "Chart.yaml").is_file() and (folder / "values").is_dir()


def _cache_dir() -> Path:
    named = os.environ.get("DRYDOCK_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    from platformdirs import user_cache_path

    return user_cache_path("drydock", appauthor=False)


def _unpack_bundled_suite(cache_dir: Path) -> Path:
    """Copy the suite out of the installed package, because set-up writes CRDs beside the charts."""
    bundled = Path(drydock.__file__).parent / "bundled"
    if not _is_suite(bundled):
        raise UsageError(
            "no suite found: neither this folder nor a parent of it holds charts/ and values/",
            remedy="Change into a checkout, or set DRYDOCK_PROJECT to one.",
        )
    stats = sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in bundled.rglob("*"))
    digest = hashlib.sha256(repr(stats).encode()).hexdigest()[:12]
    target = cache_dir / "suite" / f"{drydock.__version__}-{digest}"
    if not _is_suite(target):
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        shutil.copytree(bundled, partial)
        try:
            partial.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return target
