#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""AWS, as far as the rehearsal goes: moto, and a machine (spec/rehearsal/machine) for each of its
instances. What runs in moto is booted, what is stopped is powered off, an image is what its machine has
written. An instance that leaves its Auto Scaling group first waits for its lifecycle hook; when a stack
replaces instances, it waits for the new ones, and then takes the old ones one by one.

    cloud.py ADDRESS PORT BASE

serves AWS at ADDRESS:PORT, and the metadata service; BASE is the root of Amazon's images. Besides, at
/rehearsal/: GET subnet, machines, events, calls (with who made them, and whether they were allowed),
left (names of what exists); POST spot/ID/SECONDS interrupts an instance, user/NAME makes a user with
the policy that is posted, parameter makes the parameter whose name is posted."""
import json
import os
import subprocess
import sys
import threading
import time
import traceback

from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudformation.parsing import clean_json
from moto.core.responses import EmptyResult
from moto.ec2.models import EC2Backend, ec2_backends
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.ssm.models import ssm_backends
from moto.sts.models import sts_backends
from werkzeug.serving import WSGIRequestHandler, make_server

import authorization
import metadata

ACCOUNT = "123456789012"
REGION = os.environ["AWS_REGION"]
STATE = os.environ["REHEARSAL"]
GROUP_TAG = "aws:autoscaling:groupName"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"

ADDRESS, PORT, BASE = sys.argv[1], int(sys.argv[2]), sys.argv[3]

ec2 = ec2_backends[ACCOUNT][REGION]
autoscaling = autoscaling_backends[ACCOUNT][REGION]
cloudformation = cloudformation_backends[ACCOUNT][REGION]
iam = iam_backends[ACCOUNT]["aws"]
ssm = ssm_backends[ACCOUNT][REGION]
sts = sts_backends[ACCOUNT]["aws"]

machines = {}  # id: Machine
images = {}  # id of an image: its layers, topmost first
events = []
begun = time.monotonic()
changed = threading.Condition()  # guards machines and what they have


def note(machine, event):
    line = {"after": round(time.monotonic() - begun, 2), "id": machine.id, "event": event}
    events.append(line)
    print("%(after)7.2f %(id)s %(event)s" % line, file=sys.stderr, flush=True)


def in_background(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


# ---- machines ----

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "machine")


# Answers are as quick as those of AWS, however busy the instances are, which run as usual.
PRIORITY = 10


def tool(command, machine, *words):
    """Calls spec/rehearsal/machine; raises with what it says."""
    done = subprocess.run(["nice", "-n", str(PRIORITY), TOOL, command, machine.id, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError("machine %s: %s" % (command, done.stdout.strip()))


# Settings of the node that an instance on EC2 does not need: where AWS is, and that jobs may use the
# web server of the rehearsal.
ENVIRONMENT = """AWS_ENDPOINT_URL=http://{address}:{port}
MOONFLEET_ALLOW_HOSTS={address}
"""


class Machine:
    """The machine of an instance. `state`: booting, up, off, leaving, gone."""

    def __init__(self, instance):
        self.id, self.address = instance.id, instance.private_ip
        self.tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        self.group = self.tags.get(GROUP_TAG)
        self.image, self.state, self.action = instance.image_id, "booting", None
        template = launch_template(self.group)
        options = template.get("MetadataOptions", {})
        profile = template.get("IamInstanceProfile", {})
        profile = profile.get("Arn") or profile.get("Name")
        role = profile and authorization.role_of_profile(ACCOUNT, profile)
        key = instance.key_name and ec2.key_pairs[instance.key_name].public_key
        self.metadata = metadata.Instance({
            "id": self.id, "image": self.image, "address": self.address, "region": REGION,
            "zone": instance._placement.zone, "type": instance.instance_type,
            "user_data": instance.user_data and str(instance.user_data), "key": key,
        }, self.tags if options.get("InstanceMetadataTags") == "enabled" else None, role, assume)
        if self.group:
            self.metadata.target_state = "InService"

    def path(self, name):
        return "%s/machines/%s/root/%s" % (STATE, self.id, name)

    def write(self, name, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def boot(self):
        try:
            tool("create", self, self.address, *images.get(self.image, [BASE]))
            self.first_boot()
            tool("start", self)
        except Exception as e:  # the rehearsal reads it in the events
            note(self, "failed to boot: %s" % e)
            self.turn("failed")
            return
        self.turn("up")

    def first_boot(self):
        """What cloud-init does on Amazon Linux."""
        self.write("etc/default/moonfleet", ENVIRONMENT.format(address=ADDRESS, port=PORT))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                        self.path("etc/ssh/ssh_host_ed25519_key")],
                       input="y\n", text=True, stdout=subprocess.DEVNULL, check=True)
        if self.metadata.facts["key"]:
            folder = self.path("home/ec2-user/.ssh")
            owner = os.stat(self.path("home/ec2-user"))
            os.makedirs(folder, 0o700, exist_ok=True)
            self.write("home/ec2-user/.ssh/authorized_keys", self.metadata.facts["key"], 0o600)
            for path in (folder, folder + "/authorized_keys"):
                os.chown(path, owner.st_uid, owner.st_gid)

    def turn(self, state):
        with changed:
            self.state = state
            note(self, state)
            changed.notify_all()

    def node_state(self):
        """The result and the state of the service, such as ["success", "inactive"]; [] without one."""
        return subprocess.run(
            [TOOL, "run", self.id, "systemctl", "show", "moonfleet", "--value", "-p", "Result",
             "-p", "ActiveState"], stdin=subprocess.DEVNULL, capture_output=True,
            text=True).stdout.split()

    def power_off(self):
        if self.node_state():
            note(self, "node: " + ", ".join(self.node_state()))
        try:
            tool("stop", self, "60")
        except RuntimeError as e:
            note(self, str(e))

    def leave(self):
        """The end of an instance: its lifecycle hook, if it has one, then its power."""
        with changed:
            changed.wait_for(lambda: self.state != "booting")
            was_up, self.state = self.state == "up", "leaving"
            note(self, "leaving")
        hook = hook_of(self.group) if was_up and not self.metadata.spot_notice else None
        if hook:
            with replacing:
                with changed:
                    changed.wait_for(lambda: not replacements_boot(self.group), 60)
                self.wait_for_hook(hook)
        self.power_off()
        try:
            tool("remove", self)
        except RuntimeError as e:
            note(self, str(e))
        self.turn("gone")

    def wait_for_hook(self, hook):
        timeout = float(hook["HeartbeatTimeout"])
        with changed:
            self.action = {"hook": hook["LifecycleHookName"], "result": None, "heartbeats": 0,
                           "ends": time.monotonic() + timeout}
            self.metadata.target_state = "Terminated"
            note(self, "waits for %s, %d s" % (self.action["hook"], timeout))
            while not self.action["result"]:
                left = self.action["ends"] - time.monotonic()
                if left <= 0:
                    self.action["result"] = "none in time"
                changed.wait(max(left, 0))
            note(self, "hook: %(result)s, %(heartbeats)d heartbeats" % self.action)


# One instance at a time leaves a group that has others.
replacing = threading.Lock()


launching = threading.RLock()


def replacements_boot(group):
    """Whether a group has an instance whose machine is not up yet."""
    ids = [i.id for i in ec2.all_instances() if i.state == "running"
           and getattr(getattr(i, "autoscaling_group", None), "name", None) == group]
    return any(i not in machines or machines[i].state == "booting" for i in ids)


def launch_template(name):
    """The data of a group's launch template; moto's instances have the tag of its first version."""
    group = autoscaling.autoscaling_groups.get(name)
    if group is None or group.ec2_launch_template is None:
        return {}
    return group.ec2_launch_template.get_version(group.launch_template_version).data


def assume(role, session, seconds):
    return sts.assume_role(region_name=REGION, role_session_name=session, role_arn=role.arn,
                           policy="", duration=seconds, external_id="")


def of_address(address):
    for machine in list(machines.values()):
        if machine.address == address and machine.state != "gone":
            return machine.metadata
    return None


def reconcile():
    with launching:
        instances = list(ec2.all_instances())
    for instance in instances:
        state, machine = instance.state, machines.get(instance.id)
        if state == "running" and machine is None:
            if any(m.address == instance.private_ip and m.state != "gone" for m in list(machines.values())):
                continue  # moto gives addresses away at once
            machine = Machine(instance)
            if machine.group and machine.group not in autoscaling.autoscaling_groups:
                continue  # moto makes the instances of a group before the group
            with changed:
                machines[instance.id] = machine
            in_background(machine.boot)
        elif state == "terminated" and machine and machine.state in ("booting", "up", "off"):
            if not getattr(machine, "ends", False):
                machine.ends = True
                in_background(machine.leave)


def follow():
    while True:
        try:
            reconcile()
        except Exception:  # the loop must go on; the rehearsal's end shows it
            print("cloud: %s" % traceback.format_exc(), file=sys.stderr, flush=True)
        time.sleep(0.2)


# ---- what moto does, with machines ----

def replace(owner, name):
    """A decorator: the function becomes method `name` of `owner`; its first argument is the original."""
    original = getattr(owner, name)

    def decorate(function):
        setattr(owner, name, lambda *words, **named: function(original, *words, **named))
        return function
    return decorate


@replace(EC2Backend, "run_instances")
def run_instances(original, backend, *words, **named):
    with launching:  # an instance is complete when it has its tags
        return original(backend, *words, **named)


@replace(EC2Backend, "stop_instances")
def stop_instances(original, backend, instance_ids):
    stopped = original(backend, instance_ids)
    for each in instance_ids:
        machine = machines[each]
        machine.power_off()
        machine.turn("off")
    return stopped


@replace(EC2Backend, "create_image")
def create_image(original, backend, instance_id, *words, **named):
    machine = machines[instance_id]
    if machine.state != "off":
        raise RuntimeError("an image of %s, which is %s and not stopped" % (instance_id, machine.state))
    image = original(backend, instance_id, *words, **named)
    layer = "%s/images/%s" % (STATE, image.id)
    tool("capture", machine, layer)
    images[image.id] = [layer, *images.get(machine.image, [BASE])]
    return image


@replace(EC2Backend, "copy_image")
def copy_image(original, backend, source_image_id, *words, **named):
    image = original(backend, source_image_id, *words, **named)
    images[image.id] = images.get(source_image_id, [BASE])
    return image


def groups_of(stack):
    return [resource.name for resource in map(stack.resource_map.get, stack.resource_map)
            if getattr(resource, "name", None) in autoscaling.autoscaling_groups]


def hook_of(group):
    """The terminating lifecycle hook of a group in its stack's template; moto leaves hooks out."""
    for stack in cloudformation.stacks.values():
        if group not in groups_of(stack):
            continue
        for resource in stack.template_dict["Resources"].values():
            properties = clean_json(resource.get("Properties", {}), stack.resource_map)
            hooks = properties.get("LifecycleHookSpecificationList", [])
            if resource["Type"] == "AWS::AutoScaling::LifecycleHook":
                hooks = [properties]
            for hook in hooks:
                if hook["LifecycleTransition"] == TERMINATING:
                    return hook
    return None


def settles(groups):
    """Whether nothing boots or leaves, and each running instance has its machine."""
    running = [i for i in ec2.all_instances() if i.state == "running"]
    return all(i.id in machines for i in running) and not any(
        m.group in groups and m.state in ("booting", "leaving") for m in list(machines.values()))


def settle(stack, verb):
    """The status of a stack whose template moto has already carried out, until the machines follow."""
    stack.status = verb + "_IN_PROGRESS"

    def wait():
        with changed:
            while not settles(groups_of(stack)):
                changed.wait(0.5)
        stack.status = verb + "_COMPLETE"
    in_background(wait)


@replace(CloudFormationBackend, "create_stack")
def create_stack(original, backend, *words, **named):
    stack = original(backend, *words, **named)
    settle(stack, "CREATE")
    return stack


@replace(CloudFormationBackend, "update_stack")
def update_stack(original, backend, *words, **named):
    stack = original(backend, *words, **named)
    settle(stack, "UPDATE")
    return stack


@replace(CloudFormationBackend, "execute_change_set")
def execute_change_set(original, backend, *words, **named):
    sets = list(backend.change_sets.values())
    original(backend, *words, **named)
    for each in sets:
        if each.execution_status == "EXECUTE_COMPLETE":
            stack = backend.stacks.get(each.stack.stack_id)
            if stack and stack.status.endswith("_COMPLETE"):
                settle(stack, each.change_set_type)


@replace(CloudFormationBackend, "delete_stack")
def delete_stack(original, backend, name_or_stack_id):
    stack = next((s for s in backend.stacks.values() if name_or_stack_id in (s.name, s.stack_id)), None)
    if stack is None or stack.status == "DELETE_IN_PROGRESS":
        return
    stack.status = "DELETE_IN_PROGRESS"
    groups = groups_of(stack)
    for name in groups:
        group = autoscaling.autoscaling_groups[name]
        group.min_size = 0
        autoscaling.set_desired_capacity(name, 0)

    def wait():
        with changed:
            changed.wait_for(lambda: not any(
                m.group in groups and m.state != "gone" for m in list(machines.values())))
        original(backend, name_or_stack_id)
    in_background(wait)


# ---- lifecycle actions, which moto does not have ----

def action_of(response):
    """The machine of the lifecycle action that a call is about; raises as Auto Scaling does."""
    group, hook = response._get_param("AutoScalingGroupName"), response._get_param("LifecycleHookName")
    machine = machines.get(response._get_param("InstanceId"))
    if machine is None or machine.group != group or not machine.action \
            or machine.action["hook"] != hook or machine.action["result"]:
        raise ValidationError("No active Lifecycle Action found with instance ID %s"
                              % response._get_param("InstanceId"))
    return machine


def complete_lifecycle_action(response):
    result = response._get_param("LifecycleActionResult")
    if result not in ("CONTINUE", "ABANDON"):
        raise ValidationError("LifecycleActionResult must be CONTINUE or ABANDON, not %s" % result)
    with changed:
        action_of(response).action["result"] = result
        changed.notify_all()
    return EmptyResult()


def record_lifecycle_action_heartbeat(response):
    with changed:
        machine = action_of(response)
        machine.action["heartbeats"] += 1
        machine.action["ends"] = time.monotonic() + float(hook_of(machine.group)["HeartbeatTimeout"])
        changed.notify_all()
    return EmptyResult()


AutoScalingResponse.complete_lifecycle_action = complete_lifecycle_action
AutoScalingResponse.record_lifecycle_action_heartbeat = record_lifecycle_action_heartbeat


# ---- what the rehearsal asks ----

def interrupt(machine, seconds):
    """Ends an instance `seconds` after a notice, or when its node has left, so that nobody waits."""
    ends = time.monotonic() + seconds
    machine.metadata.give_spot_notice(seconds)
    note(machine, "Spot notice, %d s" % seconds)
    while time.monotonic() < ends and machine.node_state()[-1:] != ["inactive"]:
        time.sleep(1)
    ec2.terminate_instances([machine.id])
    autoscaling.notify_terminate_instances([machine.id])


def make_subnet():
    vpc = ec2.create_vpc("127.80.0.0/16")
    return ec2.create_subnet(vpc.id, "127.80.1.0/24", availability_zone=REGION + "a").id


def make_user(name, policy):
    iam.create_user(REGION, name)
    iam.put_user_policy(name, "own", policy)
    key = iam.create_access_key(name)
    return {"key": key.access_key_id, "secret": key.secret_access_key}


def make_parameter(name):
    ssm.put_parameter(name=name, description="", value="none", parameter_type="SecureString",
                      allowed_pattern="", keyid="alias/aws/ssm", overwrite=False, tags=[],
                      data_type="text", tier=None, policies=None)
    return name


def left():
    """What a fleet could leave behind, by name."""
    snapshots = ec2.describe_snapshots(filters={"tag-key": ["moonfleet:fleet"]})
    return sorted(
        [i.id for i in ec2.all_instances() if i.state != "terminated"]
        + [a.id for a in ec2.describe_images(owners=[ACCOUNT])] + [s.id for s in snapshots]
        + list(ec2.key_pairs) + list(ec2.launch_templates)
        + [g.name for g in ec2.describe_security_groups() if g.name != "default"]
        + [s.name for s in cloudformation.stacks.values()] + list(autoscaling.autoscaling_groups)
        + [r.name for r in iam.get_roles()] + [p.name for p in iam.get_instance_profiles()]
        + [p.name for p in ssm.get_all_parameters()]
        + [m.id for m in list(machines.values()) if m.state != "gone"])


def asked(path, body):
    words = path.split("/")
    if words == ["subnet"]:
        return SUBNET
    if words == ["left"]:
        return left()
    if words[0] == "user":
        return make_user(words[1], body)
    if words == ["parameter"]:
        return make_parameter(body)
    if words == ["machines"]:
        return [{"id": m.id, "address": m.address, "state": m.state, "group": m.group,
                 "tags": m.tags} for m in list(machines.values())]
    if words == ["events"]:
        return events
    if words == ["calls"]:
        return authorization.CALLS
    if words[0] == "spot" and words[1] in machines:
        in_background(interrupt, machines[words[1]], float(words[2]))
        return "interrupted"
    return None


class Application:
    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if not path.startswith("/rehearsal/"):
            return self.moto(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        answer = asked(path.removeprefix("/rehearsal/"), body)
        start_response("404 Not Found" if answer is None else "200 OK",
                       [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


SUBNET = make_subnet()


def main():
    os.nice(-PRIORITY)
    os.makedirs(STATE + "/images", exist_ok=True)
    authorization.install()
    metadata.serve(of_address)
    in_background(follow)
    server = make_server(ADDRESS, PORT, Application(), threaded=True, request_handler=Quiet)
    print("ready", flush=True)
    server.serve_forever()


main()
