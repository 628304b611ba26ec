# SPDX-License-Identifier: MIT
"""Prints what botocore would send to Parameter Store, a line of JSON for each action on standard
input ({"action": "get_parameter", "params": {...}}): {method, path, headers, body}. Sends nothing."""
import json
import sys

import botocore.session
from botocore.awsrequest import AWSResponse

session = botocore.session.get_session()
client = session.create_client("ssm", region_name="eu-west-1", aws_access_key_id="AKID",
                               aws_secret_access_key="s")
seen = []


class Raw:
    def stream(self, **_):
        return iter([b"{}"])


def keep(request, **_):
    seen.append(request)
    return AWSResponse(request.url, 200, {}, Raw())


client.meta.events.register("before-send.ssm", keep)
for line in sys.stdin:
    call = json.loads(line)
    getattr(client, call["action"])(**call["params"])
    request = seen.pop()

    def text(value):
        return value.decode() if isinstance(value, bytes) else value

    print(json.dumps({
        "method": request.method, "url": request.url, "body": json.loads(request.body),
        "headers": {name.lower(): text(value) for name, value in request.headers.items()},
    }), flush=True)
