"""Every test runs on one thread (the suite itself runs in parallel) and with a cache of its own."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory):
    """Nothing a test decodes lands in the user's cache, and no language setting of theirs changes a message."""
    os.environ["AGON_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["AGON_LANG"] = "en"
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """The longest test first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "test_resume" not in item.nodeid)
