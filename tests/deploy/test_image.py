"""The image is built from pinned parts, and is what the manifests say it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.rendering import RENDERINGS, Manifest, only, overlay, pods
from tests.deploy.tools import DEPLOY, ROOT, run, said

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
# A name, a version of two numbers at least, and what is said of it besides.
PINNED = re.compile(r"[\w.:/-]+:v?\d+\.\d+[\w.+-]*(@sha256:[0-9a-f]{64})?")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def unpinned(dockerfile: str) -> list[str]:
    """Images that may be another one tomorrow; the linter does not look into arguments."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S*)", dockerfile, re.MULTILINE))
    stages = set(re.findall(r"^FROM .* AS (\S+)", dockerfile, re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) - stages
    images = (re.sub(r"\${(\w+)}", lambda found: arguments[found[1]], base) for base in bases)
    return sorted(image for image in images if not PINNED.fullmatch(image))


def test_the_linter_has_nothing_to_say() -> None:
    assert said(run("hadolint", DOCKERFILE)) == ""


def test_the_linter_finds_an_unpinned_base(tmp_path: Path) -> None:
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(
        DOCKERFILE.read_text().replace("FROM ${PYTHON_IMAGE} AS serving", "FROM python")
    )
    assert "DL3006" in said(run("hadolint", spoilt))


def test_every_image_that_this_one_is_made_of_has_a_version() -> None:
    text = DOCKERFILE.read_text()
    assert len(set(re.findall(r"^FROM \${(\w+)}", text, re.MULTILINE))) == 2
    assert unpinned(text) == []


@pytest.mark.parametrize(
    ("argument", "image"),
    [
        ("PYTHON_IMAGE", "python:latest"),
        ("PYTHON_IMAGE", "python"),
        ("PYTHON_IMAGE", "python:3"),
        ("PYTHON_IMAGE", "python:3-slim-bookworm"),
        ("PYTHON_IMAGE", "python:slim-3.11"),
        ("KUBECTL_IMAGE", "registry.k8s.io/kubectl:latest"),
        ("KUBECTL_IMAGE", "localhost:5000/kubectl"),
        ("KUBECTL_IMAGE", "registry.k8s.io/kubectl:v1"),
    ],
)
def test_an_image_that_may_be_another_one_tomorrow_is_found(argument: str, image: str) -> None:
    text = DOCKERFILE.read_text()
    spoilt = re.sub(rf"^ARG {argument}=.*$", f"ARG {argument}={image}", text, flags=re.MULTILINE)
    assert unpinned(spoilt) == [image]


def test_a_base_that_is_no_argument_is_looked_at_too() -> None:
    assert unpinned("FROM python:3 AS build\nFROM build\n") == ["python:3"]


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
def test_every_container_has_an_image_of_a_version(rendering: Callable[[], list[Manifest]]) -> None:
    images = {
        container["image"] for p in pods(rendering()) for container in p["spec"]["containers"]
    }
    assert [image for image in images if not PINNED.fullmatch(image)] == []


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
