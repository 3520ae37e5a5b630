"""The smallest build backend that can install a package editable: one wheel with a .pth file."""

import zipfile
from pathlib import Path

NAME = "drydock-1-py3-none-any.whl"
INFO = "drydock-1.dist-info"


def build_editable(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """See PEP 660."""
    files = {
        "drydock.pth": f"{Path(__file__).parent}\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: drydock\nVersion: 1\nProvides-Extra: dev\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": "[console_scripts]\ndrydock = drydock:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{INFO}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory) / NAME, "w") as wheel:
        for name, text in {**files, f"{INFO}/RECORD": record}.items():
            wheel.writestr(name, text)
    return NAME
