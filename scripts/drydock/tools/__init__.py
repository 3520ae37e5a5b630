"""The pinned programs and data that the verbs need (docs/toolchain.md), and how programs are run.

Programs: `build.ensure`. CRDs, schemas and KWOK's stages from Go modules: `crd_files`, `schemas`, `stages`. Pins:
`pins.Toolchain`. All of it for one verb: `setup.set_up`.
"""
