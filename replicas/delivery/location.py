"""A model's URL: what it is called, where its files are, and what of it may be shown.

A URL may hold credentials, before the host or in its query. They are kept in
one field that no repr shows; `public` is the rest, and `scrub` takes URLs and
credentials out of what others say.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from replicas.delivery.errors import UnknownStore

FROM_ENVIRONMENT = "env:"
GGUF = ".gguf"
NAME_MAX = 80
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL = re.compile(_SCHEME.pattern + r"[^\s'\"<>()]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def is_remote(spec: str) -> bool:
    """Whether it names a model by a URL, or by a variable that holds one."""
    return spec.startswith(FROM_ENVIRONMENT) or _SCHEME.match(spec) is not None


def shown(spec: str) -> str:
    """What may be printed of it."""
    is_url = is_remote(spec) and not spec.startswith(FROM_ENVIRONMENT)
    return locate(spec).public if is_url else spec


def locate(spec: str) -> Location:
    """Raises UnknownStore for a variable that is not set, and for what is no URL of one store."""
    url = spec
    if spec.startswith(FROM_ENVIRONMENT):
        url = os.environ.get(spec.removeprefix(FROM_ENVIRONMENT), "")
        if not url:
            raise UnknownStore(f"The model's URL should be in {spec}, which is not set here.")
    if not _SCHEME.match(url) or "::" in url.partition("?")[0]:
        raise UnknownStore(
            f"{spec if spec != url else 'The model'!r} is no URL of one store, such as "
            "s3://bucket/folder or https://host/model.gguf."
        )
    try:
        urlsplit(url)
    except ValueError:
        raise UnknownStore("The model's URL cannot be read.") from None
    return Location(url)


@dataclass(frozen=True, slots=True)
class Location:
    """A folder of a store, or one .gguf file of it."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return self.public

    @property
    def public(self) -> str:
        """The URL without whatever could let somebody in."""
        parts = self._parts
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")

    @property
    def is_file(self) -> bool:
        return PurePosixPath(self._parts.path).suffix == GGUF

    @property
    def file_name(self) -> str:
        """Of a location that is a file: as the store calls it."""
        return self._parts.path.rpartition("/")[2]

    @property
    def saved_as(self) -> str:
        """What that file is called here."""
        return f"{self.name}{GGUF}"

    @property
    def name(self) -> str:
        """What the cluster calls the model: the last word of the path, safe as a folder's name."""
        parts = self._parts
        path = PurePosixPath(unquote(parts.path))
        last = path.stem if self.is_file else path.name
        host = parts.netloc.rpartition("@")[2].partition(":")[0]
        return _UNSAFE.sub("-", last or host).lstrip(".-")[:NAME_MAX] or "model"

    @property
    def key(self) -> str:
        """A folder's name for everything that ever comes from here.

        Of the query, which may choose the file, only a digest; of the user before the host
        nothing, for a password may be short enough to be guessed from one.
        """
        text = f"{self.public}?{self._parts.query}"
        return f"{self.name}-{sha256(text.encode()).hexdigest()[:12]}"

    def beside(self, name: str) -> str:
        """The URL of a file in this folder, or in the folder of this file. With credentials."""
        parts = self._parts
        folder = parts.path.rpartition("/")[0] if self.is_file else parts.path.rstrip("/")
        return parts._replace(path=f"{folder}/{name}", fragment="").geturl()

    def scrub(self, text: object) -> str:
        """What a library said, without URLs and credentials."""
        said = _URL.sub("(URL)", str(text))
        user, _, password = self._parts.netloc.rpartition("@")[0].partition(":")
        secrets = [user, password, *re.split("[&=]", self._parts.query)]
        for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
            if len(secret) >= 4:  # shorter ones are words of any sentence
                said = said.replace(secret, "***")
        return said

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)
