import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of benchmark images, which the repository does not ship."""
    folder = os.environ.get("REDENOISE_BENCH_DATA")
    if not folder:
        pytest.skip("REDENOISE_BENCH_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"REDENOISE_BENCH_DATA names no folder: {path}")
    return path
