"""What a URL is called, where its files are, and what of it is shown."""

from __future__ import annotations

import pytest

from replicas.delivery.errors import UnknownStore
from replicas.delivery.location import is_remote, locate, shown


@pytest.mark.parametrize(
    ("url", "name", "public"),
    [
        ("s3://bucket/models/llama-3/", "llama-3", "s3://bucket/models/llama-3"),
        ("s3://bucket", "bucket", "s3://bucket"),
        ("gs://b/small.Q4.gguf", "small.Q4", "gs://b/small.Q4.gguf"),
        ("https://u:p@host:8443/a/my%20model?sig=1", "my-model", "https://host:8443/a/my%20model"),
        ("http://host:80/", "host", "http://host:80"),
        ("file:///models/x", "x", "file:///models/x"),
        ("http://host/..", "model", "http://host/.."),
        ("http://host/.hidden", "hidden", "http://host/.hidden"),
        ("http://host/a%2F..%2F..%2Fb", "b", "http://host/a%2F..%2F..%2Fb"),
    ],
)
def test_a_url_has_a_name_that_is_safe_and_a_form_that_can_be_shown(
    url: str, name: str, public: str
) -> None:
    location = locate(url)
    assert (location.name, location.public, str(location)) == (name, public, public)
    assert "/" not in location.key
    assert not location.key.startswith(".")


def test_files_lie_in_the_folder_or_beside_the_file() -> None:
    assert locate("s3://b/x/").beside("a.json") == "s3://b/x/a.json"
    assert locate("s3://b/x.gguf").beside("SHA256SUMS") == "s3://b/SHA256SUMS"
    assert locate("https://u:p@h/x?k=v").beside("a") == "https://u:p@h/x/a?k=v"
    assert locate("s3://b").beside("a") == "s3://b/a"


@pytest.mark.parametrize(
    "spec", ["tiny", "smollm2", "/models/x", "./x.gguf", "~/x", "C:\\models", "a:b", "x::y"]
)
def test_paths_and_words_are_no_urls(spec: str) -> None:
    assert not is_remote(spec)
    assert shown(spec) == spec


@pytest.mark.parametrize("spec", ["simplecache::s3://b/x", "zip://a::http://h/x.zip", "env:UNSET"])
def test_what_is_not_one_store_is_refused(spec: str) -> None:
    with pytest.raises(UnknownStore):
        locate(spec)


def test_credentials_and_urls_are_scrubbed() -> None:
    location = locate("https://someone:p%40ssword@host/x?sig=abcdef&n=1")
    said = "GET https://someone:p%40ssword@host/x?sig=abcdef failed: p@ssword, abcdef, n of 1"
    assert location.scrub(said) == "GET (URL) failed: ***, ***, n of 1"
    assert "ssword" not in repr(location)
    assert shown(location.url) == "https://host/x"


def test_another_user_finds_the_same_and_another_query_something_else() -> None:
    keys = {locate(f"https://{user}host/x").key for user in ("", "a:b@", "c@")}
    assert len(keys) == 1
    assert locate("https://host/x?v=2").key not in keys
