"""The suite as it was at another revision of its Git repository."""

import shutil
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from drydock.errors import UsageError
from drydock.project import Project
from drydock.tools import process
from drydock.tools.identity import content_key

_FOLDERS = ("charts", "values", "ci/toolchain")


@dataclass(frozen=True)
class Revision:
    """A commit and the suite in it.

    Attributes:
        commit: its full hash.
        project: a copy of the suite's folders, in the cache.
    """

    commit: str
    project: Project


def at_revision(project: Project, reference: str) -> Revision:
    """The suite at a branch, tag or commit, copied once for each commit; the checkout is not touched.

    Where environments stand in a repository of their own, it is that one, beside the same suite.

    Raises:
        UsageError: the suite is in no Git repository, or the reference or the suite in it does not exist.
    """
    root = project.base
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    target = project.cache_dir / "revisions" / (f"{commit}-{content_key([str(root)])}" if project.home else commit)
    if not target.is_dir():
        prefix = _git(root, "rev-parse", "--show-prefix")
        top = Path(_git(root, "rev-parse", "--show-toplevel"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="partial-") as partial:
            archive = Path(partial) / "suite.tar"
            _git(top, "archive", f"--output={archive}", f"{commit}:{prefix}", *([] if project.home else _FOLDERS))
            with tarfile.open(archive) as files:
                files.extractall(Path(partial) / "suite", filter="data")
            with suppress(OSError):  # another process was first
                (Path(partial) / "suite").rename(target)
    copy = replace(project, home=target) if project.home else replace(project, root=target)
    return Revision(commit, copy)


def _git(folder: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise UsageError("git is not on PATH", remedy="Install it: another revision is read from the repository.")
    done = process.run([git, "-C", str(folder), *arguments], check=False)
    if done.returncode != 0:
        said = done.stderr.strip().partition("\n")[0] or "no such revision"
        wanted = next((argument for argument in arguments if argument.endswith("^{commit}")), arguments[0])
        raise UsageError(
            f"git: {wanted.removesuffix('^{commit}')}: {said}",
            remedy=f"Name a branch, tag or commit of the repository around {folder} that holds the suite.",
        )
    return done.stdout.strip()
