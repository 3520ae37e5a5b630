"""The pinned programs and data that the verbs need (docs/toolchain.md).

Programs: `ensure`. CRDs, schemas and KWOK's stages from Go modules: `ensure_crds`, `ensure_schemas`,
`ensure_kwok_stages`. What is pinned: `Toolchain`. What is there:
`drydock.toolchain.doctor`.
"""

from drydock.toolchain.build import ensure
from drydock.toolchain.crds import ensure_crds, ensure_older_crds
from drydock.toolchain.pins import Tool, Toolchain
from drydock.toolchain.schemas import ensure_schemas
from drydock.toolchain.stages import ensure_kwok_stages

__all__ = [
    "Tool",
    "Toolchain",
    "ensure",
    "ensure_crds",
    "ensure_kwok_stages",
    "ensure_older_crds",
    "ensure_schemas",
]
