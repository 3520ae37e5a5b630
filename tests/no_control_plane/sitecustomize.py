"""Python imports this in each process below a test that is not marked `cluster`: none starts a control plane."""

import sys
from pathlib import Path


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen" and Path(str(arguments[0])).name in ("etcd", "kube-apiserver"):
        raise RuntimeError(f"a test that starts {arguments[0]} needs pytest.mark.cluster")


sys.addaudithook(_refuse)
