# SPDX-License-Identifier: MIT
"""moto as a stand-in for AWS that checks signatures, session tokens and policies.

Prints a line of JSON ("port", and what is in it: a user who may assume a role, a user who may do
everything with parameters, and the role's credentials) and serves 127.0.0.1 until its standard input
ends. Who calls is checked from then on. The role may find instances and read one parameter,
/moonfleet/search/node: of the resources of policies moto knows those of S3 alone, so what a call is
about is determined here."""
import json
import sys

import boto3
import requests
from moto.core.authorization import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"

authorize = ActionAuthenticatorMixin._authenticate_and_authorize_normal_action


def authorize_parameter(self, resource="*"):
    if self.headers.get("X-Amz-Target", "").startswith("AmazonSSM."):
        name = json.loads(self.raw_body).get("Name")
        if name:
            resource = "arn:aws:ssm:%s:%s:parameter%s" % (self.region, self.current_account, name)
    authorize(self, resource)


ActionAuthenticatorMixin._authenticate_and_authorize_normal_action = authorize_parameter

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
url = "http://127.0.0.1:%d" % port


def client(service):
    return boto3.client(service, region_name=REGION, endpoint_url=url, aws_access_key_id="x",
                        aws_secret_access_key="x")


def policy(*actions, resource="*"):
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def keys_of(user, name, document):
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


iam = client("iam")
trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
role = iam.create_role(RoleName="moonfleet", AssumeRolePolicyDocument=json.dumps(
    {"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
iam.put_role_policy(RoleName="moonfleet", PolicyName="discover",
                    PolicyDocument=policy("ec2:DescribeInstances"))
iam.put_role_policy(RoleName="moonfleet", PolicyName="keys", PolicyDocument=policy(
    "ssm:GetParameter", resource="arn:aws:ssm:*:*:parameter/moonfleet/search/node"))
user = keys_of("jo", "assume", policy("sts:AssumeRole"))
admin = keys_of("ann", "keys", policy("ssm:*"))
given = client("sts").assume_role(RoleArn=role, RoleSessionName="spec")["Credentials"]
requests.post(url + "/moto-api/reset-auth", data="0", headers={"Content-Type": "text/plain"},
              timeout=30)
print(json.dumps({
    "port": port, "role": role,
    "user": user, "admin": admin,
    "session": {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"],
                "token": given["SessionToken"]},
}), flush=True)
sys.stdin.read()
server.stop()
