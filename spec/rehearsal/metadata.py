# SPDX-License-Identifier: MIT
"""The metadata service of the rehearsal's instances, at its real address, version 2 alone. Like that of
EC2 it tells instances apart by the address from which they ask, and refuses whatever has no token."""
import datetime
import http.server
import json
import secrets
import threading
import time
import urllib.parse

ADDRESS = ("169.254.169.254", 80)
_tokens = {}  # token: (address, when it ends)


class Metadata(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lookup = None  # address -> what has find(path), which returns a text or None

    def _answer(self, status, text=""):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self._answer(404)
        elif "X-Forwarded-For" in self.headers:  # a proxy that somebody from elsewhere uses
            self._answer(403)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            self._answer(400)
        else:
            token = secrets.token_urlsafe(40)
            _tokens[token] = (self.client_address[0], time.monotonic() + int(ttl))
            self._answer(200, token)

    def do_GET(self):
        owner, ends = _tokens.get(self.headers.get("X-aws-ec2-metadata-token"), (None, 0))
        if owner != self.client_address[0] or ends < time.monotonic():
            self._answer(401)
            return
        instance = Metadata.lookup(self.client_address[0])
        text = instance.find(urllib.parse.unquote(self.path.rstrip("/"))) if instance else None
        self._answer(404 if text is None else 200, text or "")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client has gone


def serve(lookup):
    """Serves instances in the background. `lookup` returns that of an address, or None."""
    Metadata.lookup = staticmethod(lookup)
    server = Server(ADDRESS, Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _time(moment):
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Instance:
    """What the service knows of an instance. `facts` has what never changes (id, address, image, type,
    zone, region, user_data, key), `tags` is None if the instance does not show them."""

    # Seconds; those of EC2 live for six hours. These end while the rehearsal runs.
    CREDENTIALS = 400
    # Seconds: EC2 has new credentials five minutes before the old ones expire.
    RENEW = 300

    def __init__(self, facts, tags, role, assume):
        self.facts, self.tags, self.role, self._assume = facts, tags, role, assume
        self.target_state = None  # of an instance in an Auto Scaling group
        self.spot_notice = None  # the text of spot/instance-action
        self._credentials, self._renew_at = None, 0
        self._lock = threading.Lock()

    def give_spot_notice(self, seconds):
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        self.spot_notice = json.dumps({"action": "terminate", "time": _time(when)})

    def credentials(self):
        with self._lock:
            if time.monotonic() >= self._renew_at:
                session = self._assume(self.role, self.facts["id"], self.CREDENTIALS)
                self._credentials = json.dumps({
                    "Code": "Success", "Type": "AWS-HMAC",
                    "LastUpdated": _time(datetime.datetime.now(datetime.timezone.utc)),
                    "AccessKeyId": session.access_key_id,
                    "SecretAccessKey": session.secret_access_key,
                    "Token": session.session_token,
                    "Expiration": session.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
                })
                self._renew_at = time.monotonic() + self.CREDENTIALS - self.RENEW
            return self._credentials

    def find(self, path):
        """The text at a path, without a / at its end; None if there is none."""
        facts = self.facts
        fixed = {
            "instance-id": facts["id"], "ami-id": facts["image"], "local-ipv4": facts["address"],
            "instance-type": facts["type"], "placement/availability-zone": facts["zone"],
            "placement/region": facts["region"], "hostname": facts["id"],
            "spot/instance-action": self.spot_notice,
            "autoscaling/target-lifecycle-state": self.target_state,
            "public-keys/0/openssh-key": facts["key"],
        }
        if path == "/latest/user-data":
            return facts["user_data"]
        if path == "/latest/dynamic/instance-identity/document":
            return json.dumps({"instanceId": facts["id"], "imageId": facts["image"],
                               "region": facts["region"], "availabilityZone": facts["zone"],
                               "privateIp": facts["address"], "instanceType": facts["type"]})
        if not path.startswith("/latest/meta-data/"):
            return None
        name = path.removeprefix("/latest/meta-data/")
        if name in fixed:
            return fixed[name]
        if self.role and name == "iam/security-credentials":
            return self.role.name
        if self.role and name == "iam/security-credentials/" + self.role.name:
            return self.credentials()
        if self.tags is not None and name == "tags/instance":
            return "\n".join(self.tags)
        if self.tags is not None and name.startswith("tags/instance/"):
            return self.tags.get(name.removeprefix("tags/instance/"))
        return None
