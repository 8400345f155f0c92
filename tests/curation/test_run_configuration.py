import pytest

from curation.config import CurationConfig, load_config
from manifests import configuration
from manifests.errors import UserError


def test_tree_round_trip():
    config = load_config("embedded", overrides=("workers=2", "scorers.cuts.min_difference=20"))
    assert config.workers == 2
    assert configuration.build(CurationConfig, configuration.to_tree(config)) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "embeded"}, "unknown profile.*did you mean 'embedded'"),
        ({"overrides": ("sample_hz=0",)}, "sample_hz must lie in"),
        ({"overrides": ("job.executor=rey",)}, "did you mean 'ray'"),
        ({"file": "nowhere.yaml"}, "cannot read the configuration nowhere.yaml"),
    ],
)
def test_bad_run_configurations(arguments, message):
    with pytest.raises(UserError, match=message):
        load_config(**arguments)
