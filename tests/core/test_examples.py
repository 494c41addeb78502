import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.io

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example as a script does; returns what it printed."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_feature_maps_of_fconv_rotate_with_the_image(run, tmp_path):
    out = tmp_path / "maps.png"
    said = run("feature_maps.py", out, "--size", 64)
    error = {
        line.split(":")[0]: float(line.split("error ")[1].rstrip("%"))
        for line in said.splitlines()
        if "error" in line
    }
    assert error["F-Conv features, rotated by 90°"] == 0.0
    assert error["ordinary features, rotated by 90°"] > 20
    # Between pixels, a filter of 3 x 3 rotates only roughly: docs/equivariance.md.
    assert 1 < error["F-Conv features, rotated by 45°"] < 100
    figure = skimage.io.imread(out)
    step, head = 70, 30
    assert figure.shape == (3 * step + head, 7 * step + head)

    def shown(row, column):
        return figure[head + row * step :, head + column * step :][:64, :64].astype(int)

    for column in range(7):
        assert shown(0, column).std() > 10
        change = np.abs(shown(1, column) - np.rot90(shown(0, column)))
        rotates_along = column not in (1, 2, 3)
        assert (change.max() <= 1) == rotates_along


def test_feature_maps_replace_nothing(run, tmp_path):
    out = tmp_path / "maps.png"
    out.write_bytes(b"precious")
    with pytest.raises(SystemExit):
        run("feature_maps.py", out)
    assert out.read_bytes() == b"precious"


def test_the_page_on_equivariance_runs_and_holds_every_table():
    page = (ROOT / "docs" / "equivariance.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {}
    exec(compile(block, "equivariance.md", "exec"), names)
    assert names["result"].errors["equivariant"] < 1e-5
    sections = re.findall(r"<!-- (\w+) begins: .*? -->\n(.*?)\n<!-- \1 ends -->", page, re.S)
    assert len(sections) == 6
    assert all(len(text) > 50 for _, text in sections)
    for figure in re.findall(r"\]\((images/.*?)\)", page):
        assert (ROOT / "docs" / figure).is_file()
