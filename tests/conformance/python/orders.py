"""What the scripts with either SDK ask of the simulated upstream, and the class that it has to fill in."""

import json

import pydantic


def order(prompt="", /, **shape):
    """`prompt` with an order to the simulated upstream in it; the values in `raw` are JSON and go in as they are."""
    raw = shape.pop("raw", {})
    fields = [f"{json.dumps(name)}:{value}" for name, value in raw.items()]
    fields += [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in shape.items()]
    return f"{prompt}[[sim {{{','.join(fields)}}}]]"


class Place(pydantic.BaseModel):
    city: str
    country: str | None


class Weather(pydantic.BaseModel):
    """What the model has to fill in."""

    place: Place
    degrees: float
    sunny: bool
    hours: list[int]
