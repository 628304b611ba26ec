# SPDX-License-Identifier: MIT
"""What botocore, or the AWS CLI 2, makes of the set-ups of spec/support/aws_setups.lua.

usage: aws_outcomes.py botocore|cli [FILE]

Without FILE prints the version, or nothing when there is none. FILE is a JSON list of objects with
`env`, `flags` and `world`; prints a JSON list of what came of each: the key id, token, region and
URL of a DescribeInstances, and the URLs of STS on the way; or `error`. botocore is given the
variables that the AWS CLI 2 has in other places or another order. Nothing is sent anywhere: `answer`
is all of AWS."""
import contextlib
import getpass
import io
import json
import os
import re
import shutil
import sys
import tempfile
import urllib.parse



def nobody(*_, **__):
    raise EOFError("nobody is asked for a code")


getpass.getpass = nobody  # before others take it: it would ask at the terminal, wherever stdin is

KIND = sys.argv[1]
# The CLI caches the credentials of a role here, by the role alone, whoever assumed it.
HOME = os.environ["HOME"] = tempfile.mkdtemp()

if KIND == "cli":
    import awscli
    import awscli.customizations.assumerole  # which looks for the home now

    VERSION = awscli.__version__ if int(awscli.__version__.split(".")[0]) >= 2 else ""
else:
    import botocore

    VERSION = botocore.__version__
if len(sys.argv) < 3 or not VERSION:
    shutil.rmtree(HOME)
    print(VERSION)
    sys.exit()

import botocore.awsrequest
import botocore.config
import botocore.configprovider
import botocore.httpsession
import botocore.session
import botocore.utils

WORD = re.compile(r"Credential=(.*)/\d{8}/([^/]*)/[^/]*/aws4_request")
CREDENTIALS = """<Response><%(action)sResult><Credentials><AccessKeyId>%(key)s</AccessKeyId>
<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></%(action)sResult></Response>"""


def text(value):
    return value.decode() if isinstance(value, bytes) else value


class World:
    """One set-up: what is asked, and what it is answered."""

    def __init__(self, fields):
        self.world, self.sts, self.outcome = fields["world"], [], None

    def answer(self, request):
        url, headers = request.url, {k.lower(): text(v) for k, v in request.headers.items()}
        base = self.world.get("instance_at", "http://169.254.169.254/")
        if url.startswith(base):
            return self.instance(request.method, url[len(base):], headers)
        given = self.world.get(url)
        if given:
            if headers.get("authorization", "") != given.get("authorization", ""):
                return 401, ""
            return 200, given["body"]
        form = dict(urllib.parse.parse_qsl(text(request.body) or "")) if request.body else {}
        signed = WORD.search(headers.get("authorization", ""))
        if form.get("Action", "").startswith("AssumeRole"):
            self.sts.append(url)
            return 200, CREDENTIALS % {"action": form["Action"], "key": self.role(form, signed)}
        if form.get("Action") == "DescribeInstances":
            self.outcome = {
                "key": signed.group(1), "region": signed.group(2), "endpoint": url,
                "token": headers.get("x-amz-security-token"),
            }
            return 200, "<DescribeInstancesResponse/>"
        return 404, ""

    def role(self, form, signed):
        by = signed.group(1) if signed else form["WebIdentityToken"]
        parts = [form["RoleArn"].split("/")[-1], "by", by]
        session = form["RoleSessionName"]
        if re.match(r"(botocore|AWS-CLI|moonfleet).*\d$", session):
            session = None
        for name, value in (("as", session), ("external", form.get("ExternalId")),
                            ("for", form.get("DurationSeconds"))):
            if value:
                parts += [name, value]
        return "-".join(parts)

    def instance(self, method, path, headers):
        version_1 = self.world.get("version_1")
        if method == "PUT":
            return (404, "") if version_1 else (200, "token")
        if not version_1 and headers.get("x-aws-ec2-metadata-token") != "token":
            return 401, ""
        body = self.world.get("instance", {}).get(path)
        return (200, body) if body else (404, "")


class Raw(io.BytesIO):
    def stream(self, *_, **__):
        yield self.getvalue()


def send(_, request):
    status, body = current.answer(request)
    return botocore.awsrequest.AWSResponse(request.url, status, {}, Raw(body.encode()))


def of_cli(flags):
    from awscli import clidriver

    sys.argv = ["aws", "ec2", "describe-instances"]
    for name, value in flags.items():
        sys.argv += ["--" + name.replace("endpoint", "endpoint-url"), value]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = clidriver.main()
        except SystemExit as e:
            code = e.code
    shutil.rmtree(HOME + "/.aws", ignore_errors=True)
    if code:
        raise RuntimeError(err.getvalue().strip())


VARIABLES = {
    "profile": (None, ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"], None, None),
    "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None),
    "sts_regional_endpoints": (None, None, "regional", None),
}
LOADER = botocore.session.Session().get_component("data_loader") if KIND == "botocore" else None


def of_botocore(flags):
    session = botocore.session.Session(VARIABLES, profile=flags.get("profile"))
    session.register_component("data_loader", LOADER)
    store = session.get_component("config_store")
    region = store.get_config_provider("region")
    store.set_config_provider("region", botocore.configprovider.ChainProvider(
        [region, botocore.utils.IMDSRegionProvider(session)]))
    client = session.create_client(
        "ec2", region_name=flags.get("region"), endpoint_url=flags.get("endpoint"),
        config=botocore.config.Config(retries={"max_attempts": 0}))
    client.describe_instances()


botocore.httpsession.URLLib3Session.send = send
# The CLI finds its data with a variable.
ALWAYS = {name: os.environ[name] for name in ("PATH", "AWS_DATA_PATH") if name in os.environ}
results = []
with open(sys.argv[2], encoding="utf-8") as file:
    setups = json.load(file)
for setup in setups:
    os.environ.clear()
    os.environ.update(ALWAYS, **setup["env"])
    current = World(setup)
    try:
        (of_cli if KIND == "cli" else of_botocore)(setup["flags"])
        result = dict(current.outcome or {}, sts=current.sts)
    except Exception as e:  # whatever it is, it is the outcome
        result = {"error": "%s: %s" % (type(e).__name__, e)}
    results.append(result)
shutil.rmtree(HOME, ignore_errors=True)
print(json.dumps(results))
