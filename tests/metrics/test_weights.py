"""Where weights come from, with files for servers."""

import hashlib
import shlex
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from agon.errors import Unavailable, UserError
from agon.metrics.features.weights import Weights, find, read_state, sha256_of

CONTENT = b"weights" * 1000


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A file on a server, and an empty cache."""
    server = tmp_path / "server"
    server.mkdir()
    (server / "net.pth").write_bytes(CONTENT)
    monkeypatch.setenv("AGON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AGON_WEIGHTS", raising=False)
    return Weights("net.pth", ((server / "net.pth").as_uri(),), len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT", "somebody")


def test_downloads_once_into_the_cache(published, tmp_path):
    path = find(published)
    assert path == tmp_path / "cache" / "weights" / "net.pth" and path.read_bytes() == CONTENT
    (tmp_path / "server" / "net.pth").unlink()
    assert find(published) == path


def test_the_second_address_is_tried(published, tmp_path):
    away = (tmp_path / "nothing").as_uri()
    assert find(replace(published, urls=(away, *published.urls))).read_bytes() == CONTENT


def test_a_shared_folder_comes_before_the_cache(published, tmp_path, monkeypatch):
    find(published)
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("AGON_WEIGHTS", str(tmp_path / "shared"))
    assert find(published).parent.name == "weights"
    (tmp_path / "shared" / "net.pth").write_bytes(CONTENT)
    assert find(published) == tmp_path / "shared" / "net.pth"


def test_another_file_than_the_published_one_is_never_used(published, tmp_path):
    path = find(published)
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(Unavailable, match=rf"{published.sha256} is expected.*curl -L -o .*net\.pth"):
        find(published)
    path.unlink()
    (tmp_path / "server" / "net.pth").write_bytes(b"<html>")
    with pytest.raises(Unavailable, match="another file than the published one"):
        find(published)
    assert not path.exists() and not list(path.parent.iterdir())


def test_nowhere_says_where_from_how_large_and_where_to(published, tmp_path):
    (tmp_path / "server" / "net.pth").unlink()
    with pytest.raises(Unavailable) as caught:
        find(published)
    message = str(caught.value)
    assert all(text in message for text in (published.urls[0], "7000 bytes", published.sha256, str(tmp_path / "cache" / "weights" / "net.pth"), "curl"))
    assert "\n" not in message


def test_the_command_is_one_that_a_shell_takes(published, tmp_path, monkeypatch):
    """A place with a blank, an address with a question mark: the words after curl are those of the file and the address."""
    monkeypatch.setenv("AGON_CACHE", str(tmp_path / "my cache"))
    (tmp_path / "server" / "net.pth").unlink()
    asking = replace(published, urls=(published.urls[0] + "?dl=1",))
    with pytest.raises(Unavailable) as caught:
        find(asking)
    words = shlex.split(str(caught.value).partition("there: ")[2])
    assert words == ["curl", "-L", "--create-dirs", "-o", str(tmp_path / "my cache" / "weights" / "net.pth"), asking.urls[0]]


def test_unknown_hash_is_taken_from_a_given_path_alone(published, tmp_path):
    unknown = replace(published, sha256="")
    with pytest.raises(Unavailable, match="must be given by path"):
        find(unknown)
    own = tmp_path / "own.pth"
    own.write_bytes(b"mine")
    assert find(unknown, own) == own and sha256_of(own) == hashlib.sha256(b"mine").hexdigest()
    assert find(unknown, tmp_path / "server") == tmp_path / "server" / "net.pth"
    with pytest.raises(UserError, match="There is no"):
        find(published, tmp_path / "typo.pth")


def test_state_dicts_are_read_by_content_not_by_name(tmp_path):
    state = {"a.weight": torch.randn(3, 2), "b": torch.arange(4)}
    save_file(state, tmp_path / "one.pth")
    torch.save(state, tmp_path / "two.safetensors")
    for name in ("one.pth", "two.safetensors"):
        found = read_state(tmp_path / name)
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
    raw = (tmp_path / "one.pth").read_bytes()
    (tmp_path / "one.pth").write_bytes(raw[:-3])
    with pytest.raises(UserError, match="damaged safetensors"):
        read_state(tmp_path / "one.pth")
