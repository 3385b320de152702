import json
import logging

import pytest

from cacherollout.shell.telemetry import JsonFormatter, TextFormatter


def record(message: str, *args: object, **given: object) -> logging.LogRecord:
    made = logging.LogRecord("cacherollout.shell", logging.INFO, "x.py", 1, message, args, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    vars(made).update(given)
    return made


def test_a_text_line_has_utc_time_sentence_and_pairs() -> None:
    line = TextFormatter().format(record("v2 is %s.", "stable", rollout="shop/api", actions=""))
    assert line == '2023-11-14T22:13:20.250Z INFO    v2 is stable. rollout=shop/api actions=""'


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(record("two\nlines", rollout="shop/api", attempt=3))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "message": "two\nlines",
        "logger": "cacherollout.shell",
        "rollout": "shop/api",
        "attempt": 3,
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_no_line_carries_a_credential(formatter: logging.Formatter) -> None:
    made = record("no answer of redis://op:s3cret@cache", address="redis://op:s3cret@cache")
    made.exc_info = (ValueError, ValueError("password=s3cret"), None)
    assert "s3cret" not in formatter.format(made)
