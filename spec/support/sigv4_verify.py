# SPDX-License-Identifier: MIT
"""An HTTP server that recomputes the signature of every request from its raw bytes, with botocore.

usage: sigv4_verify.py ACCESS_KEY SECRET [TOKEN]

Prints "port N" and serves 127.0.0.1 until its standard input ends. 200 and "SERVICE REGION DATE" for
a right signature, else 403 and what is wrong. /open answers whatever comes, with the headers."""
import datetime
import http.server
import os
import sys
import threading

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET = sys.argv[1:3]
TOKEN = sys.argv[3] if len(sys.argv) > 3 else None
MAX_SKEW = 300


def wrong(method, path, headers, body):
    authorization = headers.get("Authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return "not signed", None
    fields = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
    key, date, region, service, term = fields["Credential"].split("/")
    if key != KEY or term != "aws4_request":
        return "another key or scope", None
    stamps = headers.get_all("X-Amz-Date")
    if len(stamps) != 1 or not stamps[0].startswith(date):
        return "dates", None
    when = datetime.datetime.strptime(stamps[0], "%Y%m%dT%H%M%SZ")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    skew = SKEW + (when - now).total_seconds()
    if abs(skew) > MAX_SKEW:
        return "clock skew of %d s" % skew, None
    signed = fields["SignedHeaders"].split(";")
    if signed != sorted(signed) or "host" not in signed:
        return "order of signed headers", None
    if headers.get("X-Amz-Security-Token") != TOKEN:
        return "another token", None
    if TOKEN and "x-amz-security-token" not in signed:
        return "the token is not signed", None
    seen = {name: headers[name] for name in headers if name.lower() in signed}
    request = AWSRequest(method=method, url="http://" + headers["Host"] + path, data=body, headers=seen)
    request.context["timestamp"] = stamps[0]
    signer = SigV4Auth(Credentials(KEY, SECRET, TOKEN), service, region)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    if expected != fields["Signature"]:
        return "signature; the canonical request is\n" + canonical, None
    return None, "%s %s %s" % (service, region, stamps[0])


# Seconds by which the clock of this server is ahead.
SKEW = float(os.environ.get("SKEW", "0"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/open":
            failure, said = None, str(self.headers)
        else:
            failure, said = wrong(self.command, self.path, self.headers, body)
        out = (failure or said).encode()
        self.send_response(403 if failure else 200)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def date_time_string(self, timestamp=None):
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        return super().date_time_string(now - SKEW)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
