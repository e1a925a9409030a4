"""Data: made parts, and one file per data set. A new data set is one file and one line in DATASETS.

>>> load_dataset("mvtec_ad").display_name("metal_nut")
'metal nut'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from looktwice.registry import Registry

if TYPE_CHECKING:
    from looktwice.data.dataset import DataSet

DATASETS = Registry(
    "data set",
    {
        "mvtec_ad": "looktwice.data.mvtec_ad:DATASET",
        "visa": "looktwice.data.visa:DATASET",
        "wfdd": "looktwice.data.wfdd:DATASET",
        "riad": "looktwice.data.riad:DATASET",
        "aitex": "looktwice.data.aitex:DATASET",
        "elpv": "looktwice.data.elpv:DATASET",
        "btad": "looktwice.data.btad:DATASET",
        "mpdd": "looktwice.data.mpdd:DATASET",
        "mvtec_loco": "looktwice.data.mvtec_loco:DATASET",
        "real_iad": "looktwice.data.real_iad:DATASET",
        "brain_mri": "looktwice.data.brain_mri:DATASET",
        "head_ct": "looktwice.data.head_ct:DATASET",
        "br35h": "looktwice.data.br35h:DATASET",
        "isic": "looktwice.data.isic:DATASET",
        "cvc_colondb": "looktwice.data.cvc_colondb:DATASET",
        "cvc_clinicdb": "looktwice.data.cvc_clinicdb:DATASET",
        "kvasir": "looktwice.data.kvasir:DATASET",
        "endo": "looktwice.data.endo:DATASET",
        "tn3k": "looktwice.data.tn3k:DATASET",
        "mvtec_3d": "looktwice.data.mvtec_3d:DATASET",
        "real3d_ad": "looktwice.data.real3d_ad:DATASET",
        "anomaly_shapenet": "looktwice.data.anomaly_shapenet:DATASET",
        "ucsd_ped2": "looktwice.data.ucsd_ped2:DATASET",
        "avenue": "looktwice.data.avenue:DATASET",
        "shanghaitech": "looktwice.data.shanghaitech:DATASET",
        "ucf_crime": "looktwice.data.ucf_crime:DATASET",
        "anomaly_instruct": "looktwice.data.anomaly_instruct:DATASET",
        "visa_dr": "looktwice.data.visa_dr:DATASET",
        "mmad": "looktwice.data.mmad:DATASET",
        "customizable_vlm": "looktwice.data.customizable_vlm:DATASET",
        "folder": "looktwice.data.folder:DATASET",
    },
    "looktwice datasets",
)


def load_dataset(name: str) -> DataSet:
    """Return the data set called `name`; raises UnknownName with the nearest known name."""
    found: DataSet = DATASETS.load(name)
    return found
