# SPDX-License-Identifier: MIT
"""The IAM checks of the rehearsal's AWS. moto verifies signatures and session tokens, and knows which
policies a caller has; but it compares actions alone, with "*" for every resource. Here policies also
decide by the resource and by conditions, and credentials expire. Every decision is recorded in CALLS."""
import re
import threading

from moto.core.exceptions import JsonRESTError, _RESTError
from moto.core.responses import BaseResponse
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.iam.access_control import IAMPolicy, IAMRequest
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

CALLS = []
_lock = threading.Lock()


def _refuse(response, status, code, message):
    """Raises an error in the form of the service's protocol."""
    if "X-Amz-Target" in response.headers:
        error = JsonRESTError(code + ("Exception" if code == "AccessDenied" else ""), message)
        error.code = 400
    else:
        error = _RESTError(code, message)
        error.code = status
    raise error


def _list(value):
    return value if isinstance(value, list) else [value]


def _like(pattern, text):
    words = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(words, text, re.DOTALL) is not None


_TESTS = {
    "StringEquals": lambda expected, actual: expected == actual,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda expected, actual: str(expected).lower() == actual,
}


def _holds(conditions, context):
    for operator, keys in conditions.items():
        if operator == "Null":
            if any((key.lower() not in context) != (str(null).lower() == "true")
                   for key, null in keys.items()):
                return False
            continue
        name = operator.removeprefix("ForAnyValue:").removesuffix("IfExists")
        negated = name.startswith("StringNot")
        test = _TESTS.get(name.replace("Not", ""))
        if test is None:
            raise NotImplementedError("a policy has the condition %s" % operator)
        for key, expected in keys.items():
            actual = context.get(key.lower())
            if actual is None:
                if operator.endswith("IfExists") or negated:
                    continue
                return False
            if any(test(e, a) for e in _list(expected) for a in _list(actual)) == negated:
                return False
    return True


def permits(documents, action, resources, context_of):
    """Whether policies allow an action on each of the resources, whose context `context_of` returns. An
    explicit Deny wins."""
    def decision(resource):
        allowed, context = False, context_of(resource)
        for document in documents:
            for statement in _list(document["Statement"]):
                actions = _list(statement.get("Action", statement.get("NotAction")))
                named = any(_like(a.lower(), action.lower()) for a in actions)
                if named != ("Action" in statement):
                    continue
                if not any(_like(r, resource) for r in _list(statement.get("Resource", "*"))):
                    continue
                if not _holds(statement.get("Condition", {}), context):
                    continue
                if statement["Effect"] == "Deny":
                    return False
                allowed = True
        return allowed

    return all(decision(resource) for resource in resources)


# ---- what an action is about ----

def _parameters(response, prefix):
    names = [response._get_param("Name")] if response._get_param("Name") else []
    names += response._get_param("Names") or []
    return [prefix + "parameter/" + name.lstrip("/") for name in names]


def _groups(response, prefix):
    name = response._get_param("AutoScalingGroupName")
    instance = response._get_param("InstanceId")
    if not name and instance:
        for tag in ec2_backends[response.current_account][response.region].describe_tags(
                filters={"resource-id": [instance], "key": ["aws:autoscaling:groupName"]}):
            name = tag["value"]
    return [prefix + "autoScalingGroup:*:autoScalingGroupName/" + name] if name else []


def _roles(response, prefix):
    name = response._get_param("RoleArn") or response._get_param("RoleName")
    if not name:
        return []
    return [name if name.startswith("arn:") else prefix + "role/" + name]


def _stacks(response, prefix):
    name = response._get_param("StackName")
    if not name:
        return []
    return [name if name.startswith("arn:") else prefix + "stack/%s/*" % name]


def _instances(response, prefix):
    return [prefix + "instance/" + each for each in response._get_param("InstanceIds") or []]


_RESOURCES = {
    "ssm": _parameters, "ec2": _instances, "autoscaling": _groups, "sts": _roles, "iam": _roles, "cloudformation": _stacks,
}


def _resources(response, service, region, account):
    where = "" if service in ("iam", "sts") else region
    owner = "iam" if service == "sts" else service
    prefix = "arn:aws:%s:%s:%s:" % (owner, where, account)
    find = _RESOURCES.get(service)
    # looking at instances is not restricted to some
    if service == "ec2" and not response._get_action().startswith(("Stop", "Terminate", "Start")):
        find = None
    return (find(response, prefix) if find else []) or ["*"]


def _tags(response, resource):
    if ":instance/" not in resource:
        return []
    backend = ec2_backends[response.current_account][response.region]
    return backend.describe_tags(filters={"resource-id": [resource.rpartition("/")[2]]})


# ---- the check ----

def _session(account, key):
    """The session whose credentials these are; None for the credentials of a user."""
    for session in sts_backends[account]["aws"].assumed_roles:
        if session.access_key_id == key:
            return session
    return None


def _record(who, action, resources, allowed):
    with _lock:
        CALLS.append({"who": who, "action": action, "resources": resources, "allowed": allowed})


def _authorize(response, _resource="*"):
    if "Authorization" not in response.headers:
        _refuse(response, 403, "MissingAuthenticationToken", "the request is not signed")
    account = response.current_account
    # the form that moto gives to each check
    request = IAMRequest(
        account_id=account, method=response.method, path=_path(response.uri), data=response.data,
        body=response.raw_body, headers=response.headers, action=response._get_action())
    request.check_signature()
    key, action = request._access_key, request._action
    session = _session(account, response.access_key)
    if session and session.expiration < utcnow():
        _record(key.arn, action, [], False)
        _refuse(response, 400, "RequestExpired", "the session token has expired")
    resources = _resources(response, request._service, request._region, account)
    documents = [IAMPolicy(policy)._policy_json for policy in key.collect_policies()]

    def context_of(resource):
        context = {"aws:requestedregion": request._region, "aws:principalarn": key.arn}
        for tag in _tags(response, resource):
            context["aws:resourcetag/" + tag["key"].lower()] = tag["value"]
        return context

    allowed = action == "sts:GetCallerIdentity" or permits(documents, action, resources, context_of)
    _record(key.arn, action, resources, allowed)
    if not allowed:
        _refuse(response, 403, "AccessDenied",
                "User: %s is not authorized to perform: %s" % (key.arn, action))


def _path(uri):
    return re.sub(r"^https?://[^/]*", "", uri) or "/"


def install():
    """Makes these the checks of moto, from the first call on."""
    BaseResponse._authenticate_and_authorize_normal_action = _authorize


def role_of_profile(account, arn):
    """The role of an instance profile, or None."""
    for profile in iam_backends[account]["aws"].instance_profiles.values():
        if profile.arn == arn or profile.name == arn:
            return next(iter(profile.roles), None)
    return None
