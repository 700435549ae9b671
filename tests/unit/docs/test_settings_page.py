"""The settings page says what `conf.py` says."""

import re
from datetime import timedelta
from pathlib import Path

from outbox.conf import Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_every_setting_is_on_the_page_with_its_default():
    rows = dict(re.findall(r"^\| `OUTBOX_(\w+)` \| (.+?) \| ", PAGE.read_text(), re.M))
    assert list(rows) == list(Settings.__annotations__)
    for name, cell in rows.items():
        default = eval(re.match(r"`(.+?)`", cell)[1], {"timedelta": timedelta})
        assert default == vars(Settings)[name], name
