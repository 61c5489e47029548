"""Overlays as a user would write them beside ours, and what comments tell him to write.

They are built in a folder of the test's own, and reach ours by relative paths,
since kustomize takes no others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.rendering import Manifest, parsed
from tests.deploy.tools import DEPLOY, run, said


def prod_with(component: str, folder: Path) -> list[Manifest]:
    """The overlay prod with the component."""
    return built(folder, resources=["overlays/prod"], components=[f"components/{component}"])


def prod_with_other_redis(folder: Path) -> list[Manifest]:
    """A copy of the overlay prod that has `managed-redis` instead of a Redis of its own."""
    here = os.path.relpath(DEPLOY, folder.resolve())
    for path in (DEPLOY / "overlays" / "prod").iterdir():
        text = path.read_text().replace("../../", f"{here}/")
        if path.name == "kustomization.yaml":
            own = f"  - {here}/components/redis\n"
            last = f"  - {here}/components/networkpolicy\n"
            assert own in text and last in text
            text = text.replace(own, "")
            text = text.replace(last, f"{last}  - {here}/components/managed-redis\n")
        (folder / path.name).write_text(text)
    return rendered(folder)


def built(
    folder: Path,
    *,
    resources: Sequence[str],
    components: Sequence[str] = (),
    patches: str = "",
    namespace: str = "blockyard",
) -> list[Manifest]:
    """Of folders below deploy/, with those patches, in that namespace."""
    here = os.path.relpath(DEPLOY, folder.resolve())
    (folder / "kustomization.yaml").write_text(
        f"namespace: {namespace}\n"
        f"resources: [{', '.join(f'{here}/{name}' for name in resources)}]\n"
        f"components: [{', '.join(f'{here}/{name}' for name in components)}]\n"
        f"{patches}"
    )
    return rendered(folder)


def rendered(folder: Path) -> list[Manifest]:
    verdict = run("kubectl", "kustomize", folder)
    assert verdict.returncode == 0, said(verdict)
    return parsed(verdict.stdout)


def shown_patches(component: str) -> str:
    """Those that the component's comment shows."""
    text = (DEPLOY / "components" / component / "kustomization.yaml").read_text()
    (shown,) = re.findall(r"^#   patches:\n(?:#   .*\n)+", text, re.MULTILINE)
    return re.sub(r"^#   ", "", shown, flags=re.MULTILINE)
