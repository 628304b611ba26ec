# SPDX-License-Identifier: MIT
"""The lifecycle actions of Auto Scaling (Query API), strictly: signatures are recomputed from the raw
bytes with botocore, parameters are exactly those of the API, and a hook waits for one instance.

usage: fake_auto_scaling.py ACCESS_KEY SECRET TOKEN GROUP HOOK

Prints "port N" and serves 127.0.0.1 until its standard input ends. A line per request goes to
standard error: "ACTION" when it was right, else what is wrong. The action can be completed once."""
import http.server
import sys
import threading
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET, TOKEN, GROUP, HOOK = sys.argv[1:6]
COMMON = {"Version": "2011-01-01", "AutoScalingGroupName": GROUP, "LifecycleHookName": HOOK}
ACTIONS = {
    "RecordLifecycleActionHeartbeat": {},
    "CompleteLifecycleAction": {"LifecycleActionResult": "CONTINUE"},
}
completed = False


def is_signed(method, path, headers, body):
    fields = dict(part.strip().split("=", 1)
                  for part in headers["Authorization"].split(" ", 1)[1].split(","))
    key, _, region, service, _ = fields["Credential"].split("/")
    signed = fields["SignedHeaders"].split(";")
    if (key, service, headers["X-Amz-Security-Token"]) != (KEY, "autoscaling", TOKEN):
        return False
    seen = {name: headers[name] for name in headers if name.lower() in signed}
    request = AWSRequest(method=method, url="http://" + headers["Host"] + path, data=body,
                         headers=seen)
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(KEY, SECRET, TOKEN), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request) == fields["Signature"]


def judge(form):
    global completed
    action = form.pop("Action", None)
    instance = form.pop("InstanceId", "")
    if action not in ACTIONS or form != {**COMMON, **ACTIONS[action]}:
        return 400, "ValidationError", "unexpected parameters %s of %s" % (form, action)
    if completed or not instance.startswith("i-"):
        return 400, "ValidationError", "No active Lifecycle Action found with instance ID " + instance
    completed = action == "CompleteLifecycleAction"
    return 200, action, ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not is_signed(self.command, self.path, self.headers, body):
            status, code, message = 403, "SignatureDoesNotMatch", "wrong signature"
        else:
            status, code, message = judge(dict(urllib.parse.parse_qsl(body.decode())))
        print(code if status == 200 else "%s: %s" % (code, message), file=sys.stderr, flush=True)
        out = ("<%sResponse><%sResult/></%sResponse>" % (code, code, code) if status == 200 else
               "<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>"
               % (code, message)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
server.shutdown()
