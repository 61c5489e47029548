"""The image is built from pinned parts, and is what the manifests say it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.rendering import only, overlay
from tests.deploy.tools import DEPLOY, ROOT, run, said

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_linter_has_nothing_to_say() -> None:
    assert said(run("hadolint", DOCKERFILE)) == ""


def test_the_linter_finds_an_unpinned_base(tmp_path: Path) -> None:
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(
        DOCKERFILE.read_text().replace("FROM ${PYTHON_IMAGE} AS serving", "FROM python")
    )
    assert "DL3006" in said(run("hadolint", spoilt))


def test_the_manifests_name_the_ray_that_is_installed() -> None:
    cluster = only(overlay("prod"), "RayService")["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == pins()["ray"]


def test_every_installation_is_pinned_by_the_constraints() -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^;&\n]*)", text)
    assert len(installs) == 5
    for arguments in installs:
        assert "--constraint constraints.txt" in arguments or "--no-deps" in arguments


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    users = re.findall(r"^USER (\d+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert users
    assert "0" not in users


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    text = DOCKERFILE.read_text()
    allowed = set(
        re.findall(r"^!(.*)$", (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(), re.M)
    )
    copies = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    sources = {source for copy in copies for source in copy if not source.startswith("--")}
    sources -= {"/opt/blockyard", "/bin/kubectl"}  # from stages
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_kubectl_is_only_in_the_image_for_chaos() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    with_kubectl = [stage.splitlines()[0] for stage in stages if "COPY --from=kubectl" in stage]
    assert with_kubectl == ["serving AS chaos"]
    assert stages[-1].strip() == "serving", "what is built where no target is named"


def test_what_the_hooks_and_probes_call_is_in_the_image() -> None:
    text = DOCKERFILE.read_text()
    assert "/usr/local/bin/drain-pod" in text
    installed = re.findall(r"apt-get install --yes --no-install-recommends ([^\\\\\n]*)", text)
    assert [packages.split() for packages in installed] == [["g++", "procps", "wget"]], (
        "a compiler is the kernels', pgrep is drain-pod's, wget the operator's"
    )
