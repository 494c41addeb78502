import re
from pathlib import Path

import torch

from napari_redenoise import nn as ours

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "layers.md").read_text()


def test_the_page_on_layers_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    found: dict[str, object] = {}
    exec(compile(block, "layers.md", "exec"), found)
    image = found["image"]
    torch.testing.assert_close(found["plain"](image), found["network"](image))


def test_the_page_on_layers_names_what_there_is() -> None:
    named = set(re.findall(r"`((?:Lift|Group|Projection|Field|Cyclic|Dihedral)\w*)", PAGE))
    assert len(named) > 10
    assert all(hasattr(ours, name) for name in named)
