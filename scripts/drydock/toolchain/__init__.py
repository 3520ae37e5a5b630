"""The pinned programs and data that the verbs need (docs/toolchain.md).

Programs: `ensure`. CRDs, schemas and KWOK's stages from Go modules: `ensure_crds`, `ensure_schemas`,
`ensure_kwok_stages`. What is pinned: `Toolchain`. What is there: `doctor_report`.
"""

from drydock.toolchain.build import ensure
from drydock.toolchain.pins import Tool, Toolchain

__all__ = ["Tool", "Toolchain", "ensure"]
