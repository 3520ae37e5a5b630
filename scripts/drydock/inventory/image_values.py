"""Where an environment's values name an image, and the values that pin it by digest."""

from collections.abc import Iterator, Mapping
from typing import Any

from drydock.documents import load_yaml_file
from drydock.inventory.images import with_registry
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts, chart_names
from drydock.suite.environments import Environment

Fields = Mapping[str, Any]
KeyPath = tuple[str, ...]


def image_keys(project: Project, charts: AssembledCharts, environment: Environment) -> dict[str, list[KeyPath]]:
    """Paths of the maps with `repository` and `tag` in an environment's values, by the image that they name.

    An image is given with its registry and without its digest. Values set by `--set` are not looked at.
    """
    values: dict[str, Any] = {
        name: load_yaml_file(charts.chart(name) / "values.yaml") or {}
        for name in chart_names(project)
        if name != UMBRELLA
    }
    for file in (charts.umbrella / "values.yaml", *environment.values_files):
        values = _over(values, load_yaml_file(file) or {})
    found: dict[str, list[KeyPath]] = {}
    for path, image in _images(values, ()):
        found.setdefault(image, []).append(path)
    return found


def digest_values(keys: Mapping[str, list[KeyPath]], digests: Mapping[str, str]) -> dict[str, Any]:
    """A tree of values that sets `digest` beside each tag.

    Args:
        keys: see `image_keys`.
        digests: by image, as in `keys`.
    """
    tree: dict[str, Any] = {}
    for image, digest in digests.items():
        for path in keys.get(image, ()):
            part = tree
            for key in path:
                part = part.setdefault(key, {})
            part["digest"] = digest
    return tree


def _images(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(node, dict):
        return
    if isinstance(node.get("repository"), str) and node.get("tag"):
        registry = f"{node['registry']}/" if node.get("registry") else ""
        yield path, with_registry(f"{registry}{node['repository']}:{node['tag']}")
    for key, value in node.items():
        yield from _images(value, (*path, str(key)))


def _over(base: Any, overlay: Any) -> Any:
    """One tree of values over another, as Helm coalesces them."""
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return {**base, **{key: _over(base.get(key), value) for key, value in overlay.items()}}
