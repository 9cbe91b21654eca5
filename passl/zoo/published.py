"""The weights that others have published for our models: where they lie, and what is known of them.

A row stands under the name of the model that the weights were trained as; its tag is open_clip's. Which activation they
need follows from the name: OpenAI's weights stand under `ViT-B-32-quickgelu` and not under `ViT-B-32`.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Optional

from passl.zoo.sizes import IMAGES

_HALF = (0.5, 0.5, 0.5)


class Source(NamedTuple):
    """Published weights.

    Attributes:
        repo: the repository of the model hub that has them for open_clip.
        address: one file that has them.
        sha256: of the file at `address`: the whole hash, or the digits that were published.
        family: the layout of the file at `address`.
        images: how pictures are prepared, where that is not as the model's name has it: mean, deviation, interpolation,
            resizing.
    """

    repo: Optional[str] = None
    address: Optional[str] = None
    sha256: Optional[str] = None
    family: str = "open_clip"
    images: Optional[tuple] = None


def _openai(sha256: str, file: str, repo: str) -> Source:
    """OpenAI's archives have their whole hash in the address."""
    return Source(
        f"timm/{repo}.openai", f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}.pt", sha256, "openai"
    )


def _release(file: str, repo: Optional[str]) -> Source:
    """The files of open_clip's release; their names end with the first eight digits of their hash."""
    address = f"https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/{file}"
    return Source(repo and f"timm/{repo}", address, file.rpartition("-")[2].partition(".")[0])


def _metaclip(file: str, repo: str) -> Source:
    return Source(f"timm/{repo}", f"https://dl.fbaipublicfiles.com/MMPT/metaclip/{file}")


def _laion(**repos: str) -> Dict[str, Source]:
    return {tag: Source(f"laion/CLIP-{repo}") for tag, repo in repos.items()}


def _timm(repo: str) -> Dict[str, Source]:
    return {"webli": Source(f"timm/{repo}")}


def _clipa(*sets: str, repo: str) -> Dict[str, Source]:
    return {name.lower(): Source(f"UCSC-VLAA/{repo}-{name}") for name in sets}


def _worldwide(repo: str) -> Dict[str, Source]:
    return {"metaclip2_worldwide": Source(f"timm/{repo}.metaclip2_worldwide")}


_RN50, _RN101 = "resnet50_clip", "resnet101_clip"
_B32, _B16, _B16_PLUS = "vit_base_patch32_clip_224", "vit_base_patch16_clip_224", "vit_base_patch16_plus_clip_240"
_L14, _L14_336 = "vit_large_patch14_clip_224", "vit_large_patch14_clip_336"
_H14, _BIGG14 = "vit_huge_patch14_clip_224", "vit_gigantic_patch14_clip_224"

PUBLISHED: Dict[str, Dict[str, Source]] = {
    "RN50-quickgelu": {
        "openai": _openai("afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762", "RN50", _RN50),
        "yfcc15m": _release("rn50-quickgelu-yfcc15m-455df137.pt", f"{_RN50}.yfcc15m"),
        "cc12m": _release("rn50-quickgelu-cc12m-f000538c.pt", f"{_RN50}.cc12m"),
    },
    "RN101-quickgelu": {
        "openai": _openai("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599", "RN101", _RN101),
        "yfcc15m": _release("rn101-quickgelu-yfcc15m-3e04b30e.pt", f"{_RN101}.yfcc15m"),
    },
    "RN50x4-quickgelu": {
        "openai": _openai(
            "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd", "RN50x4", "resnet50x4_clip"
        ),
    },
    "RN50x16-quickgelu": {
        "openai": _openai(
            "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa", "RN50x16", "resnet50x16_clip"
        ),
    },
    "RN50x64-quickgelu": {
        "openai": _openai(
            "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c", "RN50x64", "resnet50x64_clip"
        ),
    },
    "ViT-B-32-quickgelu": {
        "openai": _openai("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32", _B32),
        # OpenAI's weights in PASSL's layout; no hash was published.
        "passl": Source(address="https://passl.bj.bcebos.com/models/ViT-B-32.pdparams", family="passl-2021"),
        "laion400m_e31": _release("vit_b_32-quickgelu-laion400m_e31-d867053b.pt", f"{_B32}.laion400m_e31"),
        "laion400m_e32": _release("vit_b_32-quickgelu-laion400m_e32-46683a32.pt", f"{_B32}.laion400m_e32"),
        "metaclip_400m": _metaclip("b32_400m.pt", f"{_B32}.metaclip_400m"),
        "metaclip_fullcc": _metaclip("b32_fullcc2.5b.pt", f"{_B32}.metaclip_2pt5b"),
    },
    "ViT-B-32": {
        "laion2b_e16": _release("vit_b_32-laion2b_e16-af8dbd0c.pth", f"{_B32}.laion2b_e16"),
        **_laion(
            laion2b_s34b_b79k="ViT-B-32-laion2B-s34B-b79K",
            datacomp_xl_s13b_b90k="ViT-B-32-DataComp.XL-s13B-b90K",
            datacomp_m_s128m_b4k="ViT-B-32-DataComp.M-s128M-b4K",
            commonpool_m_clip_s128m_b4k="ViT-B-32-CommonPool.M.clip-s128M-b4K",
            commonpool_m_laion_s128m_b4k="ViT-B-32-CommonPool.M.laion-s128M-b4K",
            commonpool_m_image_s128m_b4k="ViT-B-32-CommonPool.M.image-s128M-b4K",
            commonpool_m_text_s128m_b4k="ViT-B-32-CommonPool.M.text-s128M-b4K",
            commonpool_m_basic_s128m_b4k="ViT-B-32-CommonPool.M.basic-s128M-b4K",
            commonpool_m_s128m_b4k="ViT-B-32-CommonPool.M-s128M-b4K",
            datacomp_s_s13m_b4k="ViT-B-32-DataComp.S-s13M-b4K",
            commonpool_s_clip_s13m_b4k="ViT-B-32-CommonPool.S.clip-s13M-b4K",
            commonpool_s_laion_s13m_b4k="ViT-B-32-CommonPool.S.laion-s13M-b4K",
            commonpool_s_image_s13m_b4k="ViT-B-32-CommonPool.S.image-s13M-b4K",
            commonpool_s_text_s13m_b4k="ViT-B-32-CommonPool.S.text-s13M-b4K",
            commonpool_s_basic_s13m_b4k="ViT-B-32-CommonPool.S.basic-s13M-b4K",
            commonpool_s_s13m_b4k="ViT-B-32-CommonPool.S-s13M-b4K",
        ),
    },
    "ViT-B-32-256": _laion(datacomp_s34b_b86k="ViT-B-32-256x256-DataComp-s34B-b86K"),
    "ViT-B-16-quickgelu": {
        "openai": _openai("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16", _B16),
        "dfn2b": Source("apple/DFN2B-CLIP-ViT-B-16"),
        "metaclip_400m": _metaclip("b16_400m.pt", f"{_B16}.metaclip_400m"),
        "metaclip_fullcc": _metaclip("b16_fullcc2.5b.pt", f"{_B16}.metaclip_2pt5b"),
    },
    "ViT-B-16": {
        "laion400m_e31": _release("vit_b_16-laion400m_e31-00efa78f.pt", f"{_B16}.laion400m_e31"),
        "laion400m_e32": _release("vit_b_16-laion400m_e32-55e67d44.pt", f"{_B16}.laion400m_e32"),
        **_laion(
            laion2b_s34b_b88k="ViT-B-16-laion2B-s34B-b88K",
            datacomp_xl_s13b_b90k="ViT-B-16-DataComp.XL-s13B-b90K",
            datacomp_l_s1b_b8k="ViT-B-16-DataComp.L-s1B-b8K",
            commonpool_l_clip_s1b_b8k="ViT-B-16-CommonPool.L.clip-s1B-b8K",
            commonpool_l_laion_s1b_b8k="ViT-B-16-CommonPool.L.laion-s1B-b8K",
            commonpool_l_image_s1b_b8k="ViT-B-16-CommonPool.L.image-s1B-b8K",
            commonpool_l_text_s1b_b8k="ViT-B-16-CommonPool.L.text-s1B-b8K",
            commonpool_l_basic_s1b_b8k="ViT-B-16-CommonPool.L.basic-s1B-b8K",
            commonpool_l_s1b_b8k="ViT-B-16-CommonPool.L-s1B-b8K",
        ),
    },
    "ViT-B-16-plus-240": {
        "laion400m_e31": _release("vit_b_16_plus_240-laion400m_e31-8fb26589.pt", f"{_B16_PLUS}.laion400m_e31"),
        # open_clip names the repository of epoch 31 here too, so only the release is certain.
        "laion400m_e32": _release("vit_b_16_plus_240-laion400m_e32-699c4b84.pt", None),
    },
    "ViT-L-14-quickgelu": {
        "openai": _openai("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", "ViT-L-14", _L14),
        "metaclip_400m": _metaclip("l14_400m.pt", f"{_L14}.metaclip_400m"),
        "metaclip_fullcc": _metaclip("l14_fullcc2.5b.pt", f"{_L14}.metaclip_2pt5b"),
        "dfn2b": Source("apple/DFN2B-CLIP-ViT-L-14"),
    },
    "ViT-L-14": {
        "laion400m_e31": _release("vit_l_14-laion400m_e31-69988bb6.pt", f"{_L14}.laion400m_e31"),
        "laion400m_e32": _release("vit_l_14-laion400m_e32-3d133497.pt", f"{_L14}.laion400m_e32"),
        "laion2b_s32b_b82k": Source(
            "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", images=(_HALF, _HALF, "bicubic", "shortest")
        ),
        **_laion(
            datacomp_xl_s13b_b90k="ViT-L-14-DataComp.XL-s13B-b90K",
            commonpool_xl_clip_s13b_b90k="ViT-L-14-CommonPool.XL.clip-s13B-b90K",
            commonpool_xl_laion_s13b_b90k="ViT-L-14-CommonPool.XL.laion-s13B-b90K",
            commonpool_xl_s13b_b90k="ViT-L-14-CommonPool.XL-s13B-b90K",
        ),
        "dfn2b_s39b": Source("apple/DFN2B-CLIP-ViT-L-14-39B"),
    },
    "ViT-L-14-336-quickgelu": {
        "openai": _openai(
            "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", "ViT-L-14-336px", _L14_336
        ),
    },
    "ViT-H-14-quickgelu": {
        "metaclip_fullcc": _metaclip("h14_fullcc2.5b.pt", f"{_H14}.metaclip_2pt5b"),
        "dfn5b": Source("apple/DFN5B-CLIP-ViT-H-14", images=IMAGES["openai squashed"]),
    },
    "ViT-H-14": {
        **_laion(laion2b_s32b_b79k="ViT-H-14-laion2B-s32B-b79K"),
        "metaclip_altogether": _metaclip("h14_v1.2_altogether.pt", f"{_H14}.metaclip_altogether"),
    },
    "ViT-H-14-378-quickgelu": {"dfn5b": Source("apple/DFN5B-CLIP-ViT-H-14-378")},
    "ViT-g-14": _laion(laion2b_s12b_b42k="ViT-g-14-laion2B-s12B-b42K", laion2b_s34b_b88k="ViT-g-14-laion2B-s34B-b88K"),
    "ViT-bigG-14-quickgelu": {"metaclip_fullcc": _metaclip("G14_fullcc2.5b.pt", f"{_BIGG14}.metaclip_2pt5b")},
    "ViT-bigG-14": _laion(laion2b_s39b_b160k="ViT-bigG-14-laion2B-39B-b160k"),
    "roberta-ViT-B-32": _laion(laion2b_s12b_b32k="ViT-B-32-roberta-base-laion2B-s12B-b32k"),
    "xlm-roberta-base-ViT-B-32": _laion(laion5b_s13b_b90k="ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"),
    "xlm-roberta-large-ViT-H-14": _laion(
        frozen_laion5b_s13b_b90k="ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k"
    ),
    # The 378 pixels of this model are those that its squares of 14 fill out of 384.
    "ViT-SO400M-14-SigLIP-378": _timm("ViT-SO400M-14-SigLIP-384"),
    **{
        name: _timm(name)
        for name in (
            *("ViT-B-16-SigLIP", "ViT-B-16-SigLIP-256", "ViT-B-16-SigLIP-384", "ViT-B-16-SigLIP-512"),
            *("ViT-B-16-SigLIP-i18n-256", "ViT-L-16-SigLIP-256", "ViT-L-16-SigLIP-384"),
            *("ViT-SO400M-14-SigLIP", "ViT-SO400M-14-SigLIP-384", "ViT-SO400M-16-SigLIP-i18n-256"),
            *("ViT-B-32-SigLIP2-256", "ViT-B-16-SigLIP2", "ViT-B-16-SigLIP2-256", "ViT-B-16-SigLIP2-384"),
            *("ViT-B-16-SigLIP2-512", "ViT-L-16-SigLIP2-256", "ViT-L-16-SigLIP2-384", "ViT-L-16-SigLIP2-512"),
            *("ViT-SO400M-14-SigLIP2", "ViT-SO400M-14-SigLIP2-378", "ViT-SO400M-16-SigLIP2-256"),
            *("ViT-SO400M-16-SigLIP2-384", "ViT-SO400M-16-SigLIP2-512"),
            *("ViT-gopt-16-SigLIP2-256", "ViT-gopt-16-SigLIP2-384"),
        )
    },
    **{
        name: _clipa("datacomp1B", repo=name)
        for name in (
            "ViT-L-14-CLIPA",
            "ViT-L-14-CLIPA-336",
            "ViT-H-14-CLIPA",
            "ViT-bigG-14-CLIPA",
            "ViT-bigG-14-CLIPA-336",
        )
    },
    "ViT-H-14-CLIPA-336": _clipa("laion2B", "datacomp1B", repo="ViT-H-14-CLIPA-336"),
    "ViT-H-14-worldwide-quickgelu": _worldwide(_H14),
    "ViT-H-14-worldwide-378": _worldwide("vit_huge_patch14_clip_378"),
    "ViT-bigG-14-worldwide": _worldwide(_BIGG14),
    "ViT-bigG-14-worldwide-378": _worldwide("vit_gigantic_patch14_clip_378"),
}
