"""JSON that nobody vouches for."""

from __future__ import annotations

import json
from typing import Any

from manifests.errors import UserError


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        UserError: it is none, is nested deeper than Python reads, has a number of thousands of digits, or half of a character (which cannot
            be written again); one line.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError("it holds half of a character (a lone surrogate)") from None
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except ValueError as error:
        raise UserError(" ".join(str(error).split())[:200]) from None
    return value
