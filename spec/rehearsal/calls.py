# SPDX-License-Identifier: MIT
"""Makes calls of AWS with botocore: reads a JSON array of {"key", "secret", "token", "service",
"operation", "parameters"}, and prints one with "allowed" or the code of the error for each."""
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

outcomes = []
for call in json.load(sys.stdin):
    client = boto3.client(
        call["service"], aws_access_key_id=call["key"], aws_secret_access_key=call["secret"],
        aws_session_token=call.get("token"), endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name=os.environ["AWS_REGION"], config=Config(retries={"total_max_attempts": 1}))
    try:
        getattr(client, call["operation"])(**call["parameters"])
        outcomes.append("allowed")
    except ClientError as e:
        outcomes.append(e.response["Error"]["Code"])
print(json.dumps(outcomes))
