"""Terraform on a copy of ci/eks: plan, apply, destroy, with errors that say what to do."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.errors import DrydockError
from drydock.progress import Progress, Step
from drydock.tools import process

_STATE_IN_FOLDER = 'terraform {\n  backend "local" {}\n}\n'
_PROVIDERS = ".terraform.lock.hcl"
"""Which packages of providers are accepted, by their checksums."""
_NO_STATE = "No state file was found"
_LOCK = re.compile(r"\bID:\s+(\S+)")
_LOCKED = "Error acquiring the state lock"
_ERRORS_SHOWN = 5
_WRONG_INPUT = "Nothing was changed: correct what is named in the environment's file, then repeat the command."
_REMEDIES = {
    "ExpiredToken": "The AWS credentials have expired: sign in again (`aws sso login`), then repeat the command.",
    "InvalidClientTokenId": "AWS does not know these credentials: look at AWS_PROFILE and the AWS_ variables.",
    "No valid credential sources": "Sign in first: no AWS credentials were found.",
    "AWS account ID not allowed": "The credentials belong to another account than --account-id names.",
    "AccessDenied": "The credentials may not do this: use a role that may.",
    "UnauthorizedOperation": "The credentials may not do this: use a role that may.",
    "LimitExceeded": "A quota of the account is used up: raise it in Service Quotas, or remove what is not needed.",
    "precondition failed": _WRONG_INPUT,
    "Invalid value for variable": _WRONG_INPUT,
    _LOCKED: "Another process deploys this cluster; if none does: {unlock}",
    "Failed to query available provider packages": (
        "The AWS provider cannot be had: TF_CLI_CONFIG_FILE can name a mirror (provider_installation)."
    ),
    "doesn't match any of the checksums": (
        f"Do not use this package: ci/eks/{_PROVIDERS} has the checksums of HashiCorp's. Of unpacked mirrors it knows "
        "those for linux_amd64 and darwin_arm64 alone; mirrors of archives work on every platform."
    ),
}


class TerraformError(DrydockError):
    """Terraform failed; the message has its own errors."""


@dataclass(frozen=True)
class Backend:
    """Where the state lies: a bucket that a team shares, or the working folder when `bucket` is empty."""

    bucket: str = ""
    key: str = ""
    region: str = ""

    def arguments(self) -> list[str]:
        """For `terraform init`."""
        named = {"bucket": self.bucket, "key": self.key, "region": self.region}
        return [f"-backend-config={name}={value}" for name, value in named.items()] if self.bucket else []


@dataclass(frozen=True)
class Plan:
    """What an apply would do.

    Attributes:
        file: Terraform's own; it may hold secrets and is removed after use.
        changes: `address: actions` of each resource that changes.
        resources: planned values of every managed resource: type, name and values.
    """

    file: Path
    changes: Mapping[str, Sequence[str]]
    resources: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Terraform:
    """A working folder with a copy of the configuration.

    Attributes:
        program: path of terraform.
        folder: of the configuration, and of the state when it is kept here.
        variables: of the configuration.
    """

    program: Path
    folder: Path
    variables: Mapping[str, Any]

    def init(self, configuration: Path, backend: Backend, progress: Progress) -> None:
        """Copy the configuration and get the provider.

        Raises:
            TerraformError: the provider or the state cannot be had.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in (*configuration.glob("*.tf"), *configuration.glob(_PROVIDERS)):
            shutil.copy2(file, self.folder)
        for plan in self.folder.glob("*.tfplan"):  # of a command that was killed
            plan.unlink()
        override = self.folder / "backend_override.tf"
        if backend.bucket:
            override.unlink(missing_ok=True)
        else:
            override.write_text(_STATE_IN_FOLDER)
        with progress.step("Terraform: provider and state") as step:
            self._run(["init", "-json", "-reconfigure", *backend.arguments()], "init", step)
            self._push_what_could_not_be_written()

    def plan(self, progress: Progress, *, destroy: bool = False) -> Plan:
        """Find out what an apply would do.

        Raises:
            TerraformError: AWS refused, or the variables are wrong.
        """
        (self.folder / "drydock.auto.tfvars.json").write_text(json.dumps(self.variables, indent=2))
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".tfplan")
        os.close(handle)
        file = Path(name)
        with progress.step("Terraform: plan") as step:
            try:
                self._run(["plan", "-json", f"-out={file}", *(["-destroy"] if destroy else [])], "plan", step)
                shown = process.run([self.program, "show", "-json", file], cwd=self.folder, env=self._environment())
            except BaseException:
                file.unlink(missing_ok=True)
                raise
        content = json.loads(shown.stdout)
        changes = {
            change["address"]: change["change"]["actions"]
            for change in content.get("resource_changes", ())
            if change["mode"] == "managed" and change["change"]["actions"] != ["no-op"]
        }
        root = content.get("planned_values", {}).get("root_module", {})
        resources = [resource for resource in root.get("resources", ()) if resource["mode"] == "managed"]
        return Plan(file, changes, resources)

    def apply(self, plan: Plan, progress: Progress) -> None:
        """Carry out a plan; its file is removed, however it ends.

        The first Ctrl-C lets Terraform finish what it is doing and write its state.

        Raises:
            TerraformError: AWS refused; what was made is in the state.
            KeyboardInterrupt: Terraform was interrupted, and has written its state.
        """
        self._applied.touch()
        try:
            with progress.step(f"Terraform: {len(plan.changes)} changes") as step:
                self._run(["apply", "-json", str(plan.file)], "apply", step)
        finally:
            plan.file.unlink(missing_ok=True)

    @property
    def applied(self) -> bool:
        """Whether an apply was ever begun from this folder, however it ended."""
        return self._applied.exists()

    @property
    def _applied(self) -> Path:
        return self.folder / "applied"

    def outputs(self) -> dict[str, Any]:
        """Outputs by name."""
        shown = process.run([self.program, "output", "-json"], cwd=self.folder, env=self._environment())
        return {name: each["value"] for name, each in json.loads(shown.stdout).items()}

    def managed(self) -> tuple[str, ...]:
        """Addresses of what the state holds; nothing when it was never applied.

        Raises:
            TerraformError: the state cannot be read.
        """
        listed = self._state("list")
        if listed.returncode != 0 and _NO_STATE not in listed.stderr:
            raise self._failure("state list", [listed.stderr])
        lines = listed.stdout.splitlines()
        return tuple(line for line in lines if not re.match(r"(module\..+\.)?data\.", line))

    def forget(self, address: str) -> None:
        """Take a resource out of the state, and leave it where it is.

        Raises:
            TerraformError: the state cannot be written.
        """
        done = self._state("rm", address)
        if done.returncode != 0:
            raise self._failure("state rm", [done.stderr])

    def _push_what_could_not_be_written(self) -> None:
        """Terraform leaves the state here when the bucket refused it, as when credentials expire in the middle."""
        errored = self.folder / "errored.tfstate"
        if not errored.exists():
            return
        done = self._state("push", str(errored))
        if done.returncode != 0:
            raise self._failure("state push", [done.stderr])
        errored.unlink()

    def _failure(self, what: str, errors: Sequence[str]) -> "TerraformError":
        """See failure; a lock that no process holds any more is opened with its identifier, in this folder."""
        lock = next((found[1] for error in errors if _LOCKED in error and (found := _LOCK.search(error))), "LOCK_ID")
        return failure(what, errors, unlock=f"terraform -chdir={self.folder} force-unlock {lock}")

    def _state(self, verb: str, *arguments: str) -> process.Completed:
        command: list[str | Path] = [self.program, "state", verb, "-no-color", *arguments]
        return process.run(command, cwd=self.folder, env=self._environment(), check=False)

    def _run(self, arguments: Sequence[str], what: str, step: Step) -> None:
        errors: list[str] = []

        def show(line: str) -> None:
            message = _message(line)
            if message:
                step.detail(message)
            if error := _error(line):
                errors.append(error)

        command = [str(self.program), arguments[0], "-input=false", "-no-color", *arguments[1:]]
        done = process.run_streamed(command, show, cwd=self.folder, env=self._environment(), forward_interrupt=True)
        if done.interrupted:
            raise KeyboardInterrupt
        if done.returncode != 0:
            raise self._failure(what, errors or [done.stdout.strip()])

    def _environment(self) -> dict[str, str]:
        return {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def failure(what: str, errors: Sequence[str], *, unlock: str) -> TerraformError:
    """The error for a failed command: what Terraform said, a line each, and the way out where it is known.

    Args:
        what: verb of Terraform.
        errors: as it printed them.
        unlock: command that opens the state.
    """
    said = [re.sub(r"\s+", " ", error).strip() for error in errors[:_ERRORS_SHOWN]]
    if len(errors) > _ERRORS_SHOWN:
        said.append(f"and {len(errors) - _ERRORS_SHOWN} more")
    remedy = next((way for sign, way in _REMEDIES.items() if any(sign in error for error in errors)), "")
    remedy = remedy.format(unlock=unlock) or "Repeat the command: it goes on from here."
    return TerraformError(f"terraform {what}: " + "\n  ".join(said), remedy=remedy)


def _message(line: str) -> str:
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        return line.strip()
    return str(content.get("@message", "")) if isinstance(content, dict) else ""


def _error(line: str) -> str:
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        return line.removeprefix("Error: ") if line.startswith("Error: ") else ""
    if not isinstance(content, dict) or content.get("@level") != "error":
        return ""
    diagnostic = content.get("diagnostic", {})
    return " ".join(filter(None, (diagnostic.get("summary"), diagnostic.get("detail")))) or str(content["@message"])
