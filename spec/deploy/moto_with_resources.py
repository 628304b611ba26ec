# SPDX-License-Identifier: MIT
"""moto's server, with the flags of `python3 -m moto.server`, which also checks the Resource of policies
for the services that a deployment uses, and their conditions on tags of instances.

moto itself judges every call as one for the resource "*", which no narrower statement allows. Checks begin
with POST /moto-api/reset-auth, as in moto."""
import re
import sys
import threading

from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudformation.responses import CloudFormationResponse
from moto.ec2.responses import EC2Response
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.server import main
from moto.ssm.responses import SimpleSystemManagerResponse

# The condition keys of the request that is judged: name -> value.
context = threading.local()


def arn(response, service, rest):
    return "arn:aws:%s:%s:%s:%s" % (service, response.region, response.current_account, rest)


def parameter(response):
    name = response._get_param("Name")
    return arn(response, "ssm", "parameter/" + name.lstrip("/")) if name else "*"


def group(response):
    name = response._get_param("AutoScalingGroupName")
    if not name or response._get_action().startswith("Describe"):
        return "*"
    return arn(response, "autoscaling", "autoScalingGroup:0:autoScalingGroupName/" + name)


def stack(response):
    name = response._get_param("StackName")
    if not name or name.startswith("arn:"):
        return name or "*"
    return arn(response, "cloudformation", "stack/%s/0" % name)


def instance(response):
    ids = response._get_param("InstanceIds") or []
    if response._get_action() not in ("StopInstances", "TerminateInstances") or len(ids) != 1:
        return "*"
    for tag in response.ec2_backend.describe_tags(filters={"resource-id": ids}):
        context.keys["aws:ResourceTag/" + tag["key"]] = tag["value"]
    return arn(response, "ec2", "instance/" + ids[0])


def determine(resource_of):
    def with_fresh_context(self):
        context.keys = {}
        return resource_of(self)
    return with_fresh_context


for cls, resource_of in ((SimpleSystemManagerResponse, parameter), (AutoScalingResponse, group),
                         (CloudFormationResponse, stack), (EC2Response, instance)):
    cls._determine_resource = determine(resource_of)


def holds(operator, key, expected):
    value = getattr(context, "keys", {}).get(key)
    if operator == "Null":
        return (value is None) == (expected == "true")
    if operator == "StringEquals":
        return value == expected
    raise NotImplementedError("condition operator " + operator)


is_action_permitted = IAMPolicyStatement.is_action_permitted


def is_permitted(self, action, *args, **kwargs):
    """A statement whose conditions do not hold says nothing; moto takes it for a denial."""
    if "Principal" in self._statement or "Condition" not in self._statement:
        return is_action_permitted(self, action, *args, **kwargs)
    for operator, tests in self._statement["Condition"].items():
        if not all(holds(operator, key, expected) for key, expected in tests.items()):
            return PermissionResult.NEUTRAL
    rest = {name: value for name, value in self._statement.items() if name != "Condition"}
    return is_action_permitted(IAMPolicyStatement(rest), action, *args, **kwargs)


def match(pattern, string):
    """IAM's wildcards; moto takes the rest of a pattern for a regular expression."""
    return re.match("^%s$" % re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), string)


IAMPolicyStatement.is_action_permitted = is_permitted
IAMPolicyStatement._match = staticmethod(match)

if __name__ == "__main__":
    main(sys.argv[1:])
