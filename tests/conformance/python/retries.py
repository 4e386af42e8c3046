"""With its retries on, the SDK gets an answer out of a gateway that first has to refuse.

Arguments: max_retries, then the models that are out of quota for the next seconds. The script does that
itself, right before it asks: starting an interpreter may take longer than the wait.
"""

import datetime
import json
import os
import sys
import time
import urllib.request

from common import URL, ask, client, done, text_of

ACCOUNTS = ("alice@example.com", "bob@example.com")


def call(method, url, body=None, headers={}):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        assert answer.status == 200, answer


def quota(model, fraction, reset):
    for account in ACCOUNTS:
        body = {"remainingFraction": fraction, "resetTime": reset}
        call("PUT", f"{os.environ['LUNA_SIM']}/__sim/quota/{account}/{model}", body)


luna = client(max_retries=int(sys.argv[1]))
models = sys.argv[2:]
if models:
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
    for model in models:
        quota(model, 0, soon.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    call("POST", URL + "/admin/fallback/poll", headers={"x-api-key": os.environ["LUNA_ADMIN"]})
    # The upstream has its quota back when the time that it named has come.
    for model in models:
        quota(model, 1, None)
began = time.monotonic()
raw = luna.messages.with_raw_response.create(**ask())
done(text=text_of(raw.parse()), seconds=time.monotonic() - began, retries=raw.retries_taken)
