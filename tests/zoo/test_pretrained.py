"""Published weights: the table, and the way from a tag, an address or a hub's name to a file."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from passl.utils.constants import OPENAI_MEAN
from passl.utils.errors import UserError
from passl.zoo import hub
from passl.zoo.downloads import cache_path
from passl.zoo.hub import hub_address, hub_folder, tokenizer_folder
from passl.zoo.names import architecture_of, is_model_name, list_models
from passl.zoo.pretrained import known_address, list_pretrained, locate, pretrained_of
from passl.zoo.published import PUBLISHED
from passl.zoo.web import FetchError

PASSL = "https://passl.bj.bcebos.com/models/ViT-B-32.pdparams"
# The first digits of the nine hashes as OpenAI's own program has them.
OPENAI = {
    "RN50": "afeb0e10",
    "RN101": "8fa8567b",
    "RN50x4": "7e526bd1",
    "RN50x16": "52378b40",
    "RN50x64": "be1cfb55",
    "ViT-B-32": "40d36571",
    "ViT-B-16": "5806e77c",
    "ViT-L-14": "b8cca3fd",
    "ViT-L-14-336": "3035c92b",
}


@pytest.fixture
def mirror(server, cache, monkeypatch):
    """The server stands in for every host: its files lie under the paths that their addresses have."""
    monkeypatch.setenv("PASSL_MIRROR", server.address)
    return server


def put(server, repo, **files):
    """Gives a repository of the hub its files; `__` in a keyword stands for a dot."""
    for name, body in files.items():
        server.files[f"/{repo}/resolve/main/{name.replace('__', '.')}"] = body


# --- The table -------------------------------------------------------------------------------------------------------


def test_every_row_is_of_a_model_that_is_here():
    assert [name for name in PUBLISHED if not is_model_name(name)] == []


def test_every_row_can_be_fetched_and_verified_as_far_as_was_published():
    for name, tags in PUBLISHED.items():
        for tag, source in tags.items():
            assert re.fullmatch("[a-z0-9_]+", tag), (name, tag)
            assert source.repo or source.address, (name, tag)
            if source.repo:
                hub_address(source.repo, "model.safetensors")
            if source.address:
                assert source.address.startswith("https://"), (name, tag)
            assert source.sha256 is None or re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", source.sha256), (name, tag)


def test_openai_weights_have_their_whole_hash_and_quick_gelu():
    for model, digits in OPENAI.items():
        published = pretrained_of(f"{model}-quickgelu", "openai")
        assert published.source.sha256.startswith(digits)
        assert len(published.source.sha256) == 64
        assert f"/{published.source.sha256}/" in published.source.address
        assert (published.source.family, published.activation) == ("openai", "quick_gelu")
    assert len([tag for _, tag in list_pretrained() if tag == "openai"]) == len(OPENAI)


def test_passls_own_weights_have_a_tag_and_a_known_address():
    published = known_address(PASSL)
    assert published == pretrained_of("ViT-B-32-quickgelu", "passl")
    assert (published.source.family, published.activation) == ("passl-2021", "quick_gelu")
    assert published.source.sha256 is None


def test_list_pretrained_gives_pairs_or_texts():
    pairs = list_pretrained()
    assert ("ViT-B-32", "laion2b_s34b_b79k") in pairs
    assert len(set(pairs)) == len(pairs)
    assert list_pretrained(as_str=True) == [f"{name}:{tag}" for name, tag in pairs]


def test_every_pair_that_is_listed_is_found():
    for name, tag in list_pretrained():
        assert pretrained_of(name, tag).name == name


def test_preprocessing_is_said_where_it_is_not_the_models_own():
    assert pretrained_of("ViT-B-32", "laion2b_s34b_b79k").preprocessing is None
    half = pretrained_of("ViT-L-14", "laion2b_s32b_b82k").preprocessing
    assert half == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    squashed = pretrained_of("ViT-H-14-quickgelu", "dfn5b").preprocessing
    assert (squashed["mean"], squashed["resize_mode"]) == (OPENAI_MEAN, "squash")


def test_activation_follows_from_the_name_where_there_is_a_choice():
    assert pretrained_of("ViT-L-14-quickgelu", "dfn2b").activation == "quick_gelu"
    assert pretrained_of("ViT-L-14", "dfn2b_s39b").activation == "gelu"
    assert pretrained_of("roberta-ViT-B-32", "laion2b_s12b_b32k").activation is None
    assert pretrained_of("ViT-B-16-SigLIP", "webli").activation is None


@pytest.mark.parametrize("tag", ["laion400m_e32", "LAION400M_E32", "laion400m-e32"])
def test_capitals_and_dashes_of_a_tag_do_not_matter(tag):
    assert pretrained_of("ViT-B-16", tag).tag == "laion400m_e32"


def test_openais_spelling_of_a_name_finds_openais_weights():
    assert pretrained_of("ViT-L/14@336px", "openai") == pretrained_of("ViT-L-14-336-quickgelu", "openai")


@pytest.mark.parametrize(
    ("name", "tag", "right", "activations"),
    [
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu", "with QuickGELU; ViT-B-32 has GELU"),
        ("RN50", "openai", "RN50-quickgelu", "with QuickGELU; RN50 has GELU"),
        ("ViT-L-14-quickgelu", "dfn2b_s39b", "ViT-L-14", "with GELU; ViT-L-14-quickgelu has QuickGELU"),
    ],
)
def test_weights_of_the_other_activation_are_an_error_that_names_both(name, tag, right, activations):
    with pytest.raises(UserError, match=f"'{tag}' were trained as {right}, {activations}.*Ask for the model '{right}'"):
        pretrained_of(name, tag)


def test_unknown_tag_says_the_nearest_and_all_that_there_are():
    with pytest.raises(UserError) as caught:
        pretrained_of("ViT-H-14", "laion2b_s32b_b79")
    message = str(caught.value)
    assert "ViT-H-14 has no published weights 'laion2b_s32b_b79'. Did you mean 'laion2b_s32b_b79k'?" in message
    assert "Tags of ViT-H-14: laion2b_s32b_b79k, metaclip_altogether" in message
    assert "ViT-H-14-quickgelu: metaclip_fullcc, dfn5b" in message
    with pytest.raises(UserError, match="Tags of it: none"):
        pretrained_of("ViT-S-32", "openai")
    with pytest.raises(UserError, match="Did you mean 'ViT-B-32'"):
        pretrained_of("ViT-B-33", "openai")


def test_known_address_is_known_with_a_query_and_by_its_repository():
    openai = pretrained_of("ViT-B-16-quickgelu", "openai")
    assert known_address(openai.source.address + "?download=1#top") == openai
    assert known_address("https://huggingface.co/apple/DFN5B-CLIP-ViT-H-14/resolve/main/any.bin").tag == "dfn5b"
    assert known_address("https://huggingface.co/apple/DFN5B-CLIP-ViT-H-14-other/resolve/main/any.bin") is None
    assert known_address("https://example.com/ViT-B-16.pt") is None


def test_known_address_of_two_models_is_the_one_that_is_wanted():
    address = "https://huggingface.co/timm/ViT-SO400M-14-SigLIP-384/resolve/main/open_clip_model.safetensors"
    for name in ("ViT-SO400M-14-SigLIP-378", "ViT-SO400M-14-SigLIP-384"):
        assert known_address(address, name).name == name


@pytest.mark.peers
def test_table_agrees_with_open_clip(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "modeling")
    from reference import import_open_clip

    get_model_config = import_open_clip().get_model_config
    from open_clip.pretrained import _PRETRAINED as theirs

    for name, tags in theirs.items():
        if not is_model_name(name):
            continue
        is_quick = get_model_config(name).get("quick_gelu", False)
        for tag, config in tags.items():
            if name.endswith("-quickgelu") != config.get("quick_gelu", False):
                assert tag not in PUBLISHED.get(name, {}), (name, tag)
                continue
            published = pretrained_of(name, tag)
            source, node = published.source, architecture_of(name)
            if (name, tag) != ("ViT-B-16-plus-240", "laion400m_e32"):  # theirs names the repository of another epoch
                assert (source.repo or "") == config["hf_hub"].rstrip("/"), (name, tag)
            assert (source.address or "") == config["url"], (name, tag)
            if source.sha256:
                assert source.sha256 in config["url"], (name, tag)
            own = {key: node[f"image_{key}"] for key in ("mean", "std", "interpolation", "resize_mode")}
            ours = published.preprocessing or own
            assert {key: tuple(value) if key in ("mean", "std") else value for key, value in ours.items()} == {
                key: config[key] for key in own
            }, (name, tag)
            if published.activation is not None:
                assert (published.activation == "quick_gelu") == is_quick, (name, tag)
    ours = {pair for pair in list_pretrained() if pair[1] != "passl"}
    assert ours <= {(name, tag) for name, tags in theirs.items() for tag in tags}


# --- From what the user says to a file -------------------------------------------------------------------------------


def test_locate_nothing_gives_nothing():
    assert locate("ViT-B-32", None).path is None


def test_locate_tag_fetches_the_published_file(mirror, monkeypatch):
    published = pretrained_of("ViT-B-32-quickgelu", "passl")
    mirror.files["/models/ViT-B-32.pdparams"] = b"weights"
    located = locate("ViT-B/32", "PASSL")
    assert located.path == cache_path(published.source.address)
    assert located.path.read_bytes() == b"weights"
    assert (located.family, located.activation, located.model) == ("passl-2021", "quick_gelu", "ViT-B-32-quickgelu")
    assert located.label == "passl of ViT-B-32-quickgelu"


def test_locate_tag_verifies_the_published_hash(mirror):
    address = pretrained_of("RN50-quickgelu", "openai").source.address
    mirror.files[address.partition(".net")[2]] = b"altered"
    with pytest.raises(UserError, match="is not what was published"):
        locate("RN50-quickgelu", "openai")
    assert not cache_path(address).exists()


def test_locate_tag_takes_the_copy_on_the_hub_when_the_file_is_gone(mirror, caplog, no_sockets, monkeypatch):
    put(mirror, "timm/resnet50_clip.openai", open_clip_model__safetensors=b"weights")
    located = locate("RN50-quickgelu", "openai")
    assert (located.path.name, located.family) == ("open_clip_model.safetensors", "open_clip")
    assert (located.activation, located.label) == ("quick_gelu", "openai of RN50-quickgelu")
    assert "answers 404" in caplog.text
    no_sockets()  # the copy is there now
    assert locate("RN50-quickgelu", "openai") == located
    monkeypatch.setenv("PASSL_OFFLINE", "1")
    assert locate("RN50-quickgelu", "openai") == located


def test_locate_tag_of_the_hub_prefers_the_kind_that_holds_arrays_alone(mirror):
    repo = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    put(mirror, repo, open_clip_pytorch_model__bin=b"pickle")
    assert locate("ViT-B-32", "laion2b_s34b_b79k").path.name == "open_clip_pytorch_model.bin"
    asked = len(mirror.requests)
    assert locate("ViT-B-32", "laion2b_s34b_b79k").path.name == "open_clip_pytorch_model.bin"
    assert len(mirror.requests) == asked
    put(mirror, "apple/DFN5B-CLIP-ViT-H-14", open_clip_pytorch_model__bin=b"", open_clip_model__safetensors=b"arrays")
    located = locate("ViT-H-14-quickgelu", "dfn5b")
    assert (located.path.name, located.preprocessing["resize_mode"]) == ("open_clip_model.safetensors", "squash")


def test_locate_tag_that_no_server_has_says_where_it_was_looked_for(mirror):
    with pytest.raises(FetchError, match="https://huggingface.co/apple/DFN5B-CLIP-ViT-H-14 .*none of open_clip_model"):
        locate("ViT-H-14-quickgelu", "dfn5b")


def test_locate_address_that_is_known_brings_what_is_known(mirror):
    mirror.files["/models/ViT-B-32.pdparams"] = b"weights"
    located = locate("ViT-B-32-quickgelu", PASSL)
    assert (located.family, located.activation) == ("passl-2021", "quick_gelu")
    with pytest.raises(UserError, match="were trained as ViT-B-32-quickgelu, with QuickGELU; ViT-B-32 has GELU"):
        locate("ViT-B-32", PASSL)
    assert locate(None, PASSL) == located


def test_locate_address_that_is_unknown_is_fetched(server, cache):
    server.files["/own.safetensors"] = b"weights"
    located = locate("ViT-B-32", f"{server.address}/own.safetensors")
    assert located.path.read_bytes() == b"weights"
    assert (located.family, located.activation, located.model) == (None, None, None)


def test_locate_path_is_taken_as_it_is(tmp_path, monkeypatch, no_sockets):
    no_sockets()
    monkeypatch.chdir(tmp_path)
    Path("openai").mkdir()
    for given in ("./openai", tmp_path / "openai", Path("openai")):
        located = locate("ViT-B-32-quickgelu", given)
        assert (located.path, located.family) == (Path(given), None)


@pytest.mark.parametrize("given", ["./openai", "weights.pdparams", "folder/openai", Path("openai")])
def test_locate_path_that_is_not_there_says_what_is_accepted(given, cache):
    with pytest.raises(
        UserError, match="no such file or folder. Accepted: a file or a folder.*hf-hub:.*list_pretrained"
    ):
        locate("ViT-B-32-quickgelu", given)


def test_locate_word_that_is_no_tag_lists_the_tags(cache):
    with pytest.raises(UserError, match="no published weights 'opneai'. Did you mean 'openai'?"):
        locate("ViT-B-32-quickgelu", "opneai")
    with pytest.raises(UserError, match="no such file or folder"):
        locate(None, "openai")


@pytest.mark.parametrize("given", ["file:///etc/passwd", "ftp://example.com/a.pt", "http://example.com/a.pt"])
def test_locate_address_that_is_not_accepted_says_so(given, cache, no_sockets):
    no_sockets()
    with pytest.raises(UserError, match="https://host/path is accepted"):
        locate("ViT-B-32", given)


# --- The model hub ---------------------------------------------------------------------------------------------------


def test_hub_folder_of_open_clip_has_config_weights_and_tokenizer(mirror, cache, no_sockets):
    put(mirror, "org/name", open_clip_config__json=b"{}", config__json=b"{}", open_clip_model__safetensors=b"w")
    put(mirror, "org/name", model__safetensors=b"w", tokenizer__json=b"{}", tokenizer_config__json=b"{}")
    located = locate(None, "hf-hub:org/name")
    assert located.path == cache / "huggingface.co/org/name/resolve/main"
    assert located.label == "hf-hub:org/name"
    files = {path.name for path in located.path.iterdir() if not path.name.startswith(".")}
    assert files == {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    no_sockets()
    assert hub_folder("org/name") == located.path


def test_hub_folder_of_sharded_weights_has_every_shard(mirror):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    put(mirror, "org/name", config__json=b"{}", model__safetensors__index__json=json.dumps(index).encode())
    mirror.files["/org/name/resolve/main/model-1.safetensors"] = b"1"
    with pytest.raises(FetchError, match="model-2.safetensors: the server answers 404"):
        hub_folder("org/name")
    mirror.files["/org/name/resolve/main/model-2.safetensors"] = b"2"
    folder = hub_folder("org/name")
    assert (folder / "model-2.safetensors").read_bytes() == b"2"


@pytest.mark.parametrize("shard", ["../evil.safetensors", "a/b.safetensors", "", 7])
def test_hub_index_cannot_name_files_elsewhere(mirror, shard):
    index = {"weight_map": {"a": shard}}
    put(mirror, "org/name", config__json=b"{}", model__safetensors__index__json=json.dumps(index).encode())
    with pytest.raises(UserError, match="no name of a file|is no index of sharded weights"):
        hub_folder("org/name")


def test_hub_revision_is_a_folder_of_its_own(mirror):
    for name in ("config.json", "model.safetensors"):
        mirror.files[f"/org/name/resolve/v1.0/{name}"] = b"{}"
    located = locate(None, "hf-hub:org/name@v1.0")
    assert located.path.parts[-2:] == ("resolve", "v1.0")


def test_hub_verifies_the_hash_of_large_files(mirror):
    put(mirror, "org/name", config__json=b"{}")
    start = "/org/name/resolve/main/model.safetensors"
    mirror.files["/store"], mirror.redirects[start] = b"weights", "/store"
    mirror.linked[start] = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(UserError, match="is not what was published"):
        hub_folder("org/name")
    mirror.linked[start] = hashlib.sha256(b"weights").hexdigest()
    assert (hub_folder("org/name") / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "given", ["hf-hub:", "hf-hub:../name", "hf-hub:a/b/c", "hf-hub:org/name@a/b", "hf-hub:org/na me"]
)
def test_hub_name_that_none_can_have_is_refused(given, cache, no_sockets):
    no_sockets()
    with pytest.raises(UserError, match="is no name of a (repository|revision)"):
        locate(None, given)


def test_hub_repository_without_a_model_says_so(mirror):
    with pytest.raises(FetchError, match="org/name .revision main. has none of open_clip_config.json, config.json"):
        hub_folder("org/name")


def test_hub_trouble_is_not_taken_for_a_missing_file(mirror):
    put(mirror, "org/name", config__json=b"{}", model__safetensors=b"w")
    mirror.statuses["/org/name/resolve/main/open_clip_config.json"] = 503
    with pytest.raises(FetchError, match="503"):
        hub_folder("org/name")


def test_tokenizer_folder_has_the_files_that_are_there(mirror, cache, monkeypatch, no_sockets):
    put(mirror, "roberta-base", vocab__json=b"{}", merges__txt=b"", tokenizer_config__json=b"{}")
    folder = tokenizer_folder("roberta-base")
    files = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert files == {"vocab.json", "merges.txt", "tokenizer_config.json"}
    no_sockets()
    assert tokenizer_folder("roberta-base") == folder
    monkeypatch.setenv("PASSL_OFFLINE", "1")
    assert tokenizer_folder("roberta-base") == folder
    with pytest.raises(FetchError, match="bert-base-uncased/.*is not in the cache, and PASSL_OFFLINE is set"):
        tokenizer_folder("bert-base-uncased")


def test_tokenizer_folder_works_offline_with_files_put_there_by_hand(cache, monkeypatch, no_sockets):
    monkeypatch.setenv("PASSL_OFFLINE", "1")
    no_sockets()
    path = cache_path(hub_address("bert-base-uncased", "vocab.txt"))
    path.parent.mkdir(parents=True)
    path.write_text("[PAD]")
    assert tokenizer_folder("bert-base-uncased") == path.parent
    assert [entry.name for entry in path.parent.iterdir()] == ["vocab.txt"]


def test_tokenizer_folder_without_a_vocabulary_says_so(mirror):
    put(mirror, "org/name", tokenizer_config__json=b"{}")
    with pytest.raises(FetchError, match="org/name .* has none of tokenizer.json, vocab.txt"):
        tokenizer_folder("org/name")


def test_tokenizer_folder_of_which_a_file_was_removed_is_fetched_again(mirror):
    put(mirror, "org/name", tokenizer__json=b"{}")
    folder = tokenizer_folder("org/name")
    (folder / "tokenizer.json").unlink()
    assert (tokenizer_folder("org/name") / "tokenizer.json").exists()


def test_every_model_with_a_vocabulary_in_files_has_a_repository_for_it():
    from passl.zoo.names import vocabulary_of

    for name in list_models():
        vocabulary = vocabulary_of(name)
        if vocabulary != "clip":
            assert hub_address(vocabulary, "tokenizer.json").startswith(hub.HUB)
