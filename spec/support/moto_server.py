# SPDX-License-Identifier: MIT
"""moto as a stand-in for AWS that checks signatures, session tokens and policies.

Prints a line of JSON ("port", and what is in it: a user who may assume a role, and the role's
credentials) and serves 127.0.0.1 until its standard input ends. Who calls is checked from then
on."""
import json
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
url = "http://127.0.0.1:%d" % port


def client(service):
    return boto3.client(service, region_name=REGION, endpoint_url=url, aws_access_key_id="x",
                        aws_secret_access_key="x")


def policy(*actions):
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


iam = client("iam")
trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
role = iam.create_role(RoleName="moonfleet", AssumeRolePolicyDocument=json.dumps(
    {"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
iam.put_role_policy(RoleName="moonfleet", PolicyName="discover",
                    PolicyDocument=policy("ec2:DescribeInstances"))
iam.create_user(UserName="jo")
iam.put_user_policy(UserName="jo", PolicyName="assume", PolicyDocument=policy("sts:AssumeRole"))
user = iam.create_access_key(UserName="jo")["AccessKey"]
given = client("sts").assume_role(RoleArn=role, RoleSessionName="spec")["Credentials"]
requests.post(url + "/moto-api/reset-auth", data="0", headers={"Content-Type": "text/plain"},
              timeout=30)
print(json.dumps({
    "port": port, "role": role,
    "user": {"key": user["AccessKeyId"], "secret": user["SecretAccessKey"]},
    "session": {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"],
                "token": given["SessionToken"]},
}), flush=True)
sys.stdin.read()
server.stop()
