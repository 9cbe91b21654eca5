"""Repositories of the model hub, from servers that answer in their own ways, and with notes that were damaged."""

import pytest

from passl.checkpoint.weights import MODEL_WEIGHTS, OPEN_CLIP_WEIGHTS, PADDLEMIX_WEIGHTS, WEIGHT_FILES
from passl.zoo import hub
from passl.zoo.hub import hub_folder, tokenizer_folder
from passl.zoo.web import FetchError

MAIN = "/org/name/resolve/main/"


@pytest.fixture
def repository(server, cache, monkeypatch):
    """A server with a model and its tokenizer that stands in for the hub."""
    monkeypatch.setenv("PASSL_MIRROR", server.address)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        server.files[MAIN + name] = b"{}"
    return server


def forbid_what_is_not_there(server):
    class Statuses(dict):
        def __contains__(self, path):
            return path not in server.files

        def __getitem__(self, path):
            return 403

    server.statuses = Statuses()


def asked(server):
    return [path[len(MAIN) :] for path, _ in server.requests]


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[" * 100_000, b"{}", b"[1]", b'[""]', b"[]", b"null", b"\xff", b'["\\u0000"]']
)
def test_a_damaged_note_counts_as_none(repository, note):
    folder = hub_folder("org/name")
    (folder / ".passl-model.json").write_bytes(note)
    repository.requests.clear()
    assert hub_folder("org/name") == folder
    assert asked(repository)  # whether there is more
    repository.requests.clear()
    assert hub_folder("org/name") == folder and not repository.requests


@pytest.mark.parametrize("fetch_folder", [hub_folder, tokenizer_folder])
def test_a_server_that_forbids_what_it_does_not_have_will_do(repository, fetch_folder):
    forbid_what_is_not_there(repository)
    folder = fetch_folder("org/name")
    assert (folder / "tokenizer.json").is_file() and not (folder / "vocab.json").exists()


@pytest.mark.parametrize("fetch_folder", [hub_folder, tokenizer_folder])
def test_a_repository_of_which_nothing_may_be_read_is_said_to_be_so(repository, fetch_folder):
    repository.files.clear()
    forbid_what_is_not_there(repository)
    with pytest.raises(FetchError, match="the server answers 403.*needs a login"):
        fetch_folder("org/name")


@pytest.mark.parametrize("status", [401, 500, 503])
def test_other_answers_for_a_file_that_may_be_missing_are_errors(repository, status):
    repository.statuses[MAIN + "tokenizer_config.json"] = status
    with pytest.raises(FetchError, match=str(status)):
        hub_folder("org/name")


def test_without_weights_no_weights_are_asked_for(repository):
    folder = hub_folder("org/name", with_weights=False)
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= {path.name for path in folder.iterdir()}
    assert not {*WEIGHT_FILES} & {*asked(repository)}
    repository.requests.clear()
    assert hub_folder("org/name", with_weights=False) == folder and not repository.requests
    assert (hub_folder("org/name") / "model.safetensors").is_file()
    repository.requests.clear()
    assert hub_folder("org/name", with_weights=False) == folder and not repository.requests


def test_weights_have_the_names_and_the_order_of_the_reader():
    order = [name for names in hub._WEIGHTS_BESIDE.values() for name in names]
    assert order == [*OPEN_CLIP_WEIGHTS, *MODEL_WEIGHTS, PADDLEMIX_WEIGHTS] and {*order} < {*WEIGHT_FILES}
