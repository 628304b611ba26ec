# SPDX-License-Identifier: MIT
"""What botocore reads from texts as config files of AWS.

usage: aws_ini.py FILE

FILE is a JSON list of texts; prints a JSON list of their `profiles` and `services` (null: before
botocore 1.31), or `error`."""
import json
import sys
import tempfile

from botocore.configloader import load_config
from botocore.exceptions import ConfigParseError

results = []
with open(sys.argv[1], encoding="utf-8") as file:
    texts = json.load(file)
for text in texts:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as config:
        config.write(text)
        config.flush()
        try:
            read = load_config(config.name)
            results.append({"profiles": read["profiles"], "services": read.get("services")})
        except ConfigParseError:
            results.append({"error": True})
print(json.dumps(results))
