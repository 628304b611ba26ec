-- SPDX-License-Identifier: MIT
-- Set-ups of AWS and their outcomes. docs/setups.lua writes the table of docs/aws.md from them, and
-- spec/e2e/aws_setups_spec.lua compares them with moonfleet, botocore and the AWS CLI.
--
-- A set-up has a description (`about`), the texts of `config`, `credentials` and other `files` in
-- its home folder, `env` and `flags`. By default AWS_REGION is eu-west-1 and there is no instance.
--
-- The expected outcome: `key` is the id of the key that finally signs a DescribeInstances request;
-- `token`, `region`, `endpoint`, and `sts`, the URLs of STS that are used before it, are also
-- compared. `refused` is an error that is expected instead.
--
-- `cli` has what differs with botocore and the AWS CLI 2, `why` the reason for it. `since` is the
-- first version of botocore with the feature.
--
-- In all texts DIR stands for the folder, and ROLE/name for a role. A role is assumed as
-- NAME-by-KEY, with -as-, -external- and -for- if these are given; its token is T. Secret keys are
-- not compared.

local ROLE = "arn:aws:iam::123456789012:role"
local STS = "https://sts.eu-west-1.amazonaws.com/"
local PROGRAM = '{"Version": 1, "AccessKeyId": "PROGRAM", "SecretAccessKey": "S", '
  .. '"SessionToken": "P"}'
local CONTAINER = '{"AccessKeyId": "CONTAINER", "SecretAccessKey": "S", "Token": "C", '
  .. '"Expiration": "2099-01-01T00:00:00Z"}'
local INSTANCE = {
  ["latest/meta-data/iam/security-credentials/"] = "app",
  ["latest/meta-data/iam/security-credentials/app"] = '{"Code": "Success", "AccessKeyId": '
    .. '"INSTANCE", "SecretAccessKey": "S", "Token": "I", "Expiration": "2099-01-01T00:00:00Z"}',
  ["latest/meta-data/placement/region"] = "eu-north-1",
  ["latest/meta-data/placement/availability-zone/"] = "eu-north-1a",
}

-- Returns the text of a section with keys of that id, and with further `lines`.
local function keys(title, id, lines)
  return ("[%s]\naws_access_key_id = %s\naws_secret_access_key = S\n%s\n"):format(title, id,
    lines or "")
end

local function section(title, lines) return ("[%s]\n%s\n"):format(title, lines) end

local ROLE_BY_KEYS = section("profile r", "role_arn = ROLE/a\nsource_profile = s")
  .. keys("profile s", "S")

-- Returns the profiles r0 to r`n`: each is a role assumed by the next; the last one has keys.
local function chain_of(n)
  local parts = {}
  for i = 0, n - 1 do
    parts[#parts + 1] = section("profile r" .. i, "role_arn = ROLE/a\nsource_profile = r" .. i + 1)
  end
  return table.concat(parts) .. keys("profile r" .. n, "S")
end

local ENV = { AWS_ACCESS_KEY_ID = "ENV", AWS_SECRET_ACCESS_KEY = "S" }
local function env(more)
  local all = {}
  for name, value in pairs(ENV) do all[name] = value end
  for name, value in pairs(more) do all[name] = value end
  return all
end

local WEB = { AWS_WEB_IDENTITY_TOKEN_FILE = "DIR/jwt", AWS_ROLE_ARN = "ROLE/web" }
local JWT = { jwt = "JWT1" }

local setups = {
  { title = "Where credentials come from" },
  { about = "keys of the environment, with a token", key = "ENV", token = "T1",
    env = env({ AWS_SESSION_TOKEN = "T1" }) },
  { about = "the environment before the profile", key = "ENV",
    env = env({ AWS_PROFILE = "p" }), config = keys("profile p", "P") },
  { about = "`--profile` before the environment", key = "P",
    env = env({}), flags = { profile = "p" }, config = keys("profile p", "P") },
  { about = "the old name of the token, `AWS_SECURITY_TOKEN`", key = "ENV", token = "OLD",
    env = env({ AWS_SECURITY_TOKEN = "OLD" }) },
  { about = "both names of the token", key = "ENV", token = "OLD",
    env = env({ AWS_SECURITY_TOKEN = "OLD", AWS_SESSION_TOKEN = "NEW" }) },
  { about = "keys of the environment that end in 2099", key = "ENV",
    env = env({ AWS_CREDENTIAL_EXPIRATION = "2099-01-01T00:00:00Z" }) },
  { about = "keys of the environment that ended in 2020",
    env = env({ AWS_CREDENTIAL_EXPIRATION = "2020-01-01T00:00:00Z" }),
    refused = "the AWS credentials from the environment have expired", cli = "still expired" },
  { about = "an access key without its secret in the environment",
    env = { AWS_ACCESS_KEY_ID = "ENV" }, config = keys("default", "D"),
    refused = "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not",
    cli = "missing: AWS_SECRET_ACCESS_KEY|AWS_SECRET_ACCESS_KEY" },
  { about = "a secret without its access key in the environment",
    env = { AWS_SECRET_ACCESS_KEY = "S" }, config = keys("default", "D"),
    refused = "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not",
    cli = { key = "D" }, why = "half of a pair is a mistake; the CLI goes on to the profile" },
  { about = "the default profile of the credentials file", key = "D",
    credentials = keys("default", "D") },
  { about = "the default profile of the config file", key = "D", config = keys("default", "D") },
  { about = "keys in both files", key = "CRED",
    credentials = keys("default", "CRED"), config = keys("default", "CONF") },
  { about = "keys in the credentials file, an old token in the config file", key = "CRED",
    credentials = keys("default", "CRED"), config = section("default", "aws_session_token = OLD") },
  { about = "keys in the credentials file, an old set in the config file", key = "CRED",
    credentials = keys("default", "CRED"),
    config = keys("default", "CONF", "aws_session_token = OLD") },
  { about = "the access key in one file, its secret in the other",
    credentials = section("default", "aws_access_key_id = CRED"),
    config = section("default", "aws_secret_access_key = S"),
    refused = "profile default has aws_access_key_id in DIR/.aws/credentials, and no",
    cli = "aws_secret_access_key" },
  { about = "the old name of the token in a file, `aws_security_token`", key = "D", token = "OLD",
    credentials = keys("default", "D", "aws_security_token = OLD\naws_session_token = NEW") },
  { about = "`credential_process`", key = "PROGRAM", token = "P",
    config = section("default", "credential_process = cat DIR/program"),
    files = { program = PROGRAM } },
  { about = "`credential_process` with ; and # in quotes", key = "PROGRAM", token = "P",
    config = section("default", "credential_process = sh -c 'true ; cat DIR/program # x'"),
    files = { program = PROGRAM } },
  { about = "`credential_process` that fails",
    config = section("default", "credential_process = false") .. keys("profile x", "X"),
    refused = "profile default: credential_process 'false' ended with exit code 1",
    cli = "custom-process" },
  { about = "`credential_process` before keys of the config file", key = "PROGRAM", token = "P",
    config = keys("default", "CONF", "credential_process = cat DIR/program"),
    files = { program = PROGRAM } },
  { about = "keys of the credentials file before `credential_process`", key = "CRED",
    config = section("default", "credential_process = cat DIR/program"),
    credentials = keys("default", "CRED"), files = { program = PROGRAM } },
  { about = "`credential_process` with a variable, which no shell replaces",
    config = section("default", "credential_process = $HOME/program"),
    refused = "cannot run '$HOME/program'", cli = "No such file" },
  { about = "`credential_process` that prints an end in the past",
    config = section("default", "credential_process = cat DIR/program"),
    files = { program = PROGRAM:gsub("}", ', "Expiration": "2020-01-01T00:00:00Z"}') },
    refused = "profile default, credential_process have expired", cli = "still expired" },
  { about = "`credential_process` that prints another version",
    config = section("default", "credential_process = cat DIR/program"),
    files = { program = PROGRAM:gsub("1", '"1"') }, refused = "did not print Version 1",
    cli = "Unsupported version" },
  { about = "`credential_process` that prints its end in another way",
    config = section("default", "credential_process = cat DIR/program"),
    files = { program = PROGRAM:gsub("}", ', "Expiration": "20990101T000000Z"}') },
    refused = "credential_process has no valid Expiration",
    cli = { key = "PROGRAM", token = "P" },
    why = "2099-01-01T00:00:00Z is how AWS writes times; the "
      .. "CLI guesses" },
  { about = "`AWS_CREDENTIAL_FILE` that is not there", env = { AWS_CREDENTIAL_FILE = "DIR/gone" },
    refused = "there is no file DIR/gone, which AWS_CREDENTIAL_FILE names",
    cli = "could not be found" },
  { about = "`AWS_CREDENTIAL_FILE`, of the first tools", key = "OLD",
    env = { AWS_CREDENTIAL_FILE = "DIR/old" },
    files = { old = "AWSAccessKeyId=OLD\nAWSSecretKey=S=\n" } },
  { about = "`~/.boto`, of boto 2 and gsutil", key = "BOTO",
    files = { [".boto"] = keys("Credentials", "BOTO") } },
  { about = "`BOTO_CONFIG` instead of it", key = "OTHER", env = { BOTO_CONFIG = "DIR/other" },
    files = { [".boto"] = keys("Credentials", "BOTO"), other = keys("Credentials", "OTHER") } },
  { about = "a container, by its full URI", key = "CONTAINER", token = "C",
    env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:1/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "A" },
    world = { ["http://127.0.0.1:1/x"] = { body = CONTAINER, authorization = "A" } } },
  { about = "a container, with its token in a file", key = "CONTAINER", token = "C", since = "1.31",
    env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://169.254.170.23/v1/credentials",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "DIR/token" }, files = { token = "A" },
    world = { ["http://169.254.170.23/v1/credentials"] = { body = CONTAINER,
      authorization = "A" } } },
  { about = "a container, by its relative URI", key = "CONTAINER", token = "C",
    env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/x",
      AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://127.0.0.1:1/x" },
    world = { ["http://169.254.170.2/v2/x"] = { body = CONTAINER } } },
  { about = "a container that tells no end of its credentials", key = "CONTAINER", token = "C",
    env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" },
    world = { ["http://169.254.170.2/x"] = { body = '{"AccessKeyId": "CONTAINER", '
      .. '"SecretAccessKey": "S", "Token": "C"}' } }, cli = "Expiration",
    why = "stand-ins on one's own machine give such" },
  { about = "a container, with a line end behind its token", key = "CONTAINER", token = "C",
    env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x",
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "DIR/token" }, files = { token = "A\n" },
    world = { ["http://169.254.170.2/x"] = { body = CONTAINER, authorization = "A" } },
    since = "1.31", cli = "not a legal header", why = "a line end is no part of a token" },
  { about = "a container, by http of another host",
    env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = "http://other.example/x" },
    refused = "AWS_CONTAINER_CREDENTIALS_FULL_URI must be an https URL", cli = "other.example" },
  { about = "keys of the profile before the container", key = "D",
    env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/x" },
    credentials = keys("default", "D") },
  { about = "the role of the instance", key = "INSTANCE", token = "I",
    world = { instance = INSTANCE } },
  { about = "the metadata service by IPv6", key = "INSTANCE", token = "I",
    env = { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "IPv6" },
    world = { instance = INSTANCE, instance_at = "http://[fd00:ec2::254]/" } },
  { about = "the same by `imds_use_ipv6`", key = "INSTANCE", token = "I",
    config = section("default", "imds_use_ipv6 = true"),
    world = { instance = INSTANCE, instance_at = "http://[fd00:ec2::254]/" } },
  { about = "the metadata service elsewhere", key = "INSTANCE", token = "I",
    config = section("default", "ec2_metadata_service_endpoint = http://127.0.0.1:1/i/"),
    world = { instance = INSTANCE, instance_at = "http://127.0.0.1:1/i/" } },
  { about = "the metadata service of another mode", world = { instance = INSTANCE },
    env = { AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "IPv5" },
    refused = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE) must be IPv4 or IPv6, not 'IPv5'",
    cli = "IPv5" },
  { about = "`AWS_EC2_METADATA_DISABLED` in capitals", world = { instance = INSTANCE },
    env = { AWS_EC2_METADATA_DISABLED = "TRUE" },
    refused = "no AWS credentials: none in the environment", cli = "credentials" },
  { about = "`AWS_EC2_METADATA_DISABLED=1`", world = { instance = INSTANCE },
    env = { AWS_EC2_METADATA_DISABLED = "1" },
    refused = "AWS_EC2_METADATA_DISABLED must be true or false, not '1'",
    cli = { key = "INSTANCE", token = "I" }, why = "to the CLI all but true is false, in silence" },
  { about = "an instance that has version 1 alone",
    world = { instance = INSTANCE, version_1 = true },
    refused = "does not support version 2, and version 1 is never used",
    cli = { key = "INSTANCE", token = "I" },
    why = "version 1 gives credentials to any request that "
      .. "can be made to come from the instance" },
  { about = "nothing at all",
    refused = "no AWS credentials: none in the environment", cli = "credentials" },

  { title = "Roles" },
  { about = "a role by the keys of a source profile", key = "a-by-S", token = "T", sts = { STS },
    env = { AWS_PROFILE = "r" },
    config = ROLE_BY_KEYS },
  { about = "with `role_session_name`, `external_id`, `duration_seconds`",
    key = "a-by-S-as-me-external-x1-for-900", token = "T", sts = { STS },
    env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s\nrole_session_name = me\n"
      .. "external_id = x1\nduration_seconds = 900") .. keys("profile s", "S") },
  { about = "`duration_seconds` that is no number", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s\nduration_seconds = 1h")
      .. keys("profile s", "S"),
    refused = "duration_seconds of profile r must be a whole number, not '1h'",
    cli = { key = "a-by-S", token = "T", sts = { STS } },
    why = "the CLI leaves it out in silence" },
  { about = "a profile that is its own source", key = "a-by-S", token = "T", sts = { STS },
    env = { AWS_PROFILE = "r" }, config = keys("profile r", "S", "role_arn = ROLE/a\n"
      .. "source_profile = r") },
  { about = "a source that has a role itself", key = "a-by-b-by-S", token = "T",
    sts = { STS, STS }, env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = m")
      .. section("profile m", "role_arn = ROLE/b\nsource_profile = s") .. keys("profile s", "S") },
  { about = "a source that has keys and a role: its keys", key = "a-by-D", token = "T",
    sts = { STS }, env = { AWS_PROFILE = "r" }, credentials = keys("default", "D"),
    config = section("default", "role_arn = ROLE/b\nsource_profile = default")
      .. section("profile r", "role_arn = ROLE/a\nsource_profile = default") },
  { about = "a source with a program", key = "a-by-PROGRAM", token = "T", sts = { STS },
    env = { AWS_PROFILE = "r" }, files = { program = PROGRAM },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s")
      .. section("profile s", "credential_process = cat DIR/program") },
  { about = "a source with a web identity", key = "a-by-b-by-JWT1", token = "T", sts = { STS, STS },
    env = { AWS_PROFILE = "r" }, files = JWT,
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s")
      .. section("profile s", "role_arn = ROLE/b\nweb_identity_token_file = DIR/jwt") },
  { about = "a source that signs in by IAM Identity Center", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s")
      .. section("profile s", "sso_region = eu-west-1\nsso_account_id = 123456789012\n"
      .. "sso_role_name = dev\nsso_start_url = https://corp.awsapps.com/start"),
    refused = "profile s signs in by IAM Identity Center (SSO)", cli = "SSO",
    why = "nobody has signed in here; with a session the CLI uses it" },
  { about = "a source without anything", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s")
      .. section("profile s", "output = json"),
    refused = "profile s, the source_profile of r, has no credentials",
    cli = 'source profile "s" must have credentials' },
  { about = "sources one behind the other, eleven of them", env = { AWS_PROFILE = "r0" },
    config = chain_of(11), refused = "a chain of more than 10 profiles by source_profile: r0, r1",
    cli = { key = "a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-S", token = "T",
      sts = { STS, STS, STS, STS, STS, STS, STS, STS, STS, STS, STS } },
    why = "a mistake, more likely than not" },
  { about = "sources one behind the other, ten of them", env = { AWS_PROFILE = "r0" },
    config = chain_of(9), key = "a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-a-by-S", token = "T",
    sts = { STS, STS, STS, STS, STS, STS, STS, STS, STS } },
  { about = "a source that is not there", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = gone"),
    refused = "there is no AWS profile 'gone'", cli = 'source_profile "gone"' },
  { about = "sources that name each other", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = m")
      .. section("profile m", "role_arn = ROLE/b\nsource_profile = r"),
    refused = "profiles name each other as source_profile: r, m", cli = "infinite loop" },
  { about = "a role without a source", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a"),
    refused = "profile r has role_arn, and neither source_profile nor credential_source",
    cli = "source_profile or credential_source" },
  { about = "a role with two sources", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s\n"
      .. "credential_source = Environment") .. keys("profile s", "S"),
    refused = "profile r has both source_profile and credential_source", cli = "contains both" },
  { about = "`credential_source = Environment` with `--profile`", key = "a-by-ENV", token = "T",
    sts = { STS }, env = env({}), flags = { profile = "r" },
    config = section("profile r", "role_arn = ROLE/a\ncredential_source = Environment") },
  { about = "`credential_source = EcsContainer`", key = "a-by-CONTAINER", token = "T",
    sts = { STS }, env = { AWS_PROFILE = "r", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" },
    config = section("profile r", "role_arn = ROLE/a\ncredential_source = EcsContainer"),
    world = { ["http://169.254.170.2/x"] = { body = CONTAINER } } },
  { about = "`credential_source = Ec2InstanceMetadata`", key = "a-by-INSTANCE", token = "T",
    sts = { STS }, env = { AWS_PROFILE = "r" }, world = { instance = INSTANCE },
    config = section("profile r", "role_arn = ROLE/a\ncredential_source = Ec2InstanceMetadata") },
  { about = "`credential_source` of another name", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\ncredential_source = environment"),
    refused = "credential_source of profile r must be Environment, EcsContainer or Ec2Inst",
    cli = '"environment" referenced in profile "r" is not' },
  { about = "`mfa_serial`", env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s\nmfa_serial = "
      .. "arn:aws:iam::123456789012:mfa/me") .. keys("profile s", "S"),
    refused = "profile r needs an MFA code (mfa_serial), which cannot be entered here",
    cli = "nobody is asked for a code",
      why = "the CLI asks for the code; without a terminal it fails" },

  { title = "Web identity" },
  { about = "of the environment", key = "web-by-JWT1", token = "T", sts = { STS }, env = WEB,
    files = JWT },
  { about = "of the environment, with a session name", key = "web-by-JWT1-as-me", token = "T",
    sts = { STS }, files = JWT, env = { AWS_WEB_IDENTITY_TOKEN_FILE = "DIR/jwt",
      AWS_ROLE_ARN = "ROLE/web", AWS_ROLE_SESSION_NAME = "me" } },
  { about = "of the environment, beside keys of the profile", key = "web-by-JWT1", token = "T",
    sts = { STS }, env = WEB, files = JWT, credentials = keys("default", "D") },
  { about = "of the environment, beside a role of the profile: the profile's", key = "a-by-S",
    token = "T", sts = { STS }, files = JWT,
    env = { AWS_WEB_IDENTITY_TOKEN_FILE = "DIR/jwt", AWS_ROLE_ARN = "ROLE/web", AWS_PROFILE = "r" },
    config = ROLE_BY_KEYS },
  { about = "of the environment, and `--profile`", key = "P", env = WEB, files = JWT,
    flags = { profile = "p" }, config = keys("profile p", "P") },
  { about = "of a profile", key = "a-by-JWT1-as-me", token = "T", sts = { STS }, files = JWT,
    env = { AWS_PROFILE = "w" }, config = section("profile w", "role_arn = ROLE/a\n"
      .. "web_identity_token_file = DIR/jwt\nrole_session_name = me\nduration_seconds = 900\n"
      .. "mfa_serial = x") },
  { about = "the token of a profile, the role of the environment", key = "web-by-JWT1", token = "T",
    sts = { STS }, files = JWT, env = { AWS_ROLE_ARN = "ROLE/web" },
    config = section("default", "role_arn = ROLE/a\nweb_identity_token_file = DIR/jwt") },
  { about = "`AWS_ROLE_ARN` alone", key = "D", env = { AWS_ROLE_ARN = "ROLE/web" },
    credentials = keys("default", "D") },
  { about = "a token file with ~ in its name", key = "a-by-JWT1", token = "T", sts = { STS },
    files = JWT, config = section("default", "role_arn = ROLE/a\nweb_identity_token_file = ~/jwt"),
    cli = "No such file", why = "the CLI replaces ~ in other paths, and not here" },
  { about = "without a role", env = { AWS_WEB_IDENTITY_TOKEN_FILE = "DIR/jwt" }, files = JWT,
    refused = "AWS_WEB_IDENTITY_TOKEN_FILE names a web identity token, and there is no role",
    cli = "has no role ARN" },
  { about = "a token file that is not there", env = { AWS_ROLE_ARN = "ROLE/web",
      AWS_WEB_IDENTITY_TOKEN_FILE = "DIR/jwt" },
    refused = "cannot read the web identity token (AWS_WEB_IDENTITY_TOKEN_FILE): DIR/jwt",
    cli = "No such file" },

  { title = "Sign-in, which only the CLI can do" },
  { about = "IAM Identity Center, beside keys", since = "1.29", env = { AWS_PROFILE = "s" },
    config = section("profile s", "sso_session = corp\nsso_account_id = 123456789012\n"
      .. "sso_role_name = dev") .. section("sso-session corp", "sso_region = eu-west-1\n"
      .. "sso_start_url = https://corp.awsapps.com/start"),
    credentials = keys("s", "OLD"),
    refused = "profile s signs in by IAM Identity Center (SSO), which is not supported",
    cli = "SSO",
    why = "nobody has signed in here; with a session the CLI uses it" },
  { about = "the same with its old properties", env = { AWS_PROFILE = "s" },
    config = keys("profile s", "OLD", "sso_region = eu-west-1\nsso_account_id = 123456789012\n"
      .. "sso_role_name = dev\nsso_start_url = https://corp.awsapps.com/start"),
    refused = "profile s signs in by IAM Identity Center (SSO), which is not supported",
    cli = "SSO",
    why = "nobody has signed in here; with a session the CLI uses it" },
  { about = "a session alone, without account and role", key = "P", env = { AWS_PROFILE = "s" },
    config = keys("profile s", "P", "sso_session = corp") .. section("sso-session corp",
      "sso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start") },
  { about = "`aws login`, beside keys of the config file", since = "1.41",
    env = { AWS_PROFILE = "l" },
    config = keys("profile l", "OLD", "login_session = arn:aws:iam::123456789012:user/me"),
    refused = "profile l signs in by aws login (login_session), which is not supported",
    cli = "login", why = "the same" },
  { about = "`aws login`, beside keys of the credentials file", key = "P",
    env = { AWS_PROFILE = "l" },
    config = section("profile l", "login_session = arn:aws:iam::123456789012:user/me"),
    credentials = keys("l", "P") },

  { title = "Which profile, and which file" },
  { about = "`AWS_PROFILE` before `AWS_DEFAULT_PROFILE`", key = "A",
    env = { AWS_PROFILE = "a", AWS_DEFAULT_PROFILE = "b" },
    config = keys("profile a", "A") .. keys("profile b", "B") },
  { about = "`AWS_DEFAULT_PROFILE`", key = "B", env = { AWS_DEFAULT_PROFILE = "b" },
    config = keys("profile a", "A") .. keys("profile b", "B") },
  { about = "a profile that is not there", env = env({ AWS_PROFILE = "gone" }),
    config = keys("profile a", "A"), refused = "there is no AWS profile 'gone' (AWS_PROFILE)",
    cli = "(gone) could not be found" },
  { about = "an empty `AWS_PROFILE`", key = "D", env = { AWS_PROFILE = "" },
    config = keys("default", "D"), cli = "could not be found",
    why = "an empty variable is one that is not set, as in the other SDKs" },
  { about = "an empty `AWS_REGION` beside `AWS_DEFAULT_REGION`", key = "ENV", region = "us-east-2",
    env = env({ AWS_REGION = "", AWS_DEFAULT_REGION = "us-east-2" }),
    cli = "Invalid endpoint|region",
    why = "the same" },
  { about = "`[profile default]` behind `[default]`", key = "B",
    config = keys("default", "A") .. keys("profile default", "B") },
  { about = "`[profile default]` before `[default]`", key = "A",
    config = keys("profile default", "B") .. keys("default", "A") },
  { about = "`AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`", key = "C", region = "us-east-2",
    env = { AWS_REGION = false, AWS_CONFIG_FILE = "DIR/c", AWS_SHARED_CREDENTIALS_FILE = "DIR/k" },
    files = { c = section("default", "region = us-east-2"), k = keys("default", "C") },
    config = keys("default", "A"), credentials = keys("default", "B") },
  { about = "`AWS_CONFIG_FILE` with $HOME and ${HOME} in it", key = "C", token = "K",
    env = { AWS_CONFIG_FILE = "$HOME/c", AWS_SHARED_CREDENTIALS_FILE = "${HOME}/k" },
    files = { c = keys("default", "A"), k = keys("default", "C", "aws_session_token = K") } },
  { about = "`AWS_CONFIG_FILE` with ~ in it", key = "C", env = { AWS_CONFIG_FILE = "~/c" },
    files = { c = keys("default", "C") } },
  { about = "`AWS_CONFIG_FILE` that is not there (warned of)", key = "D",
    env = { AWS_CONFIG_FILE = "DIR/gone" }, credentials = keys("default", "D") },
  { about = "an empty `AWS_CONFIG_FILE`", key = "D", env = { AWS_CONFIG_FILE = "" },
    config = keys("default", "D"), cli = "credentials", why = "the same" },
  { about = "`AWS_CONFIG_FILE` that is a folder", env = { AWS_CONFIG_FILE = "DIR" },
    credentials = keys("default", "D"), refused = "cannot read DIR", cli = { key = "D" },
    why = "what is named and cannot be read is a mistake; the CLI goes on in silence" },
  { about = "`AWS_PROFILE=default` without a profile of that name",
    env = env({ AWS_PROFILE = "default" }),
    config = keys("profile a", "A"), refused = "there is no AWS profile 'default' (AWS_PROFILE)",
    cli = "(default) could not be found" },
  { about = "`[profile p]` in the credentials file", env = { AWS_PROFILE = "p" },
    credentials = keys("profile p", "P"), refused = "there is no AWS profile 'p'",
    cli = "(p) could not be found" },
  { about = "`[p]` in the config file", env = { AWS_PROFILE = "p" }, config = keys("p", "P"),
    refused = "there is no AWS profile 'p'", cli = "(p) could not be found" },
  { about = "a name with a blank, in quotes", key = "P", env = { AWS_PROFILE = "a b" },
    config = keys('profile "a b"', "P") },
  { about = "blanks around a title", key = "P", env = { AWS_PROFILE = "p" },
    config = keys(" profile p ", "P"), cli = "(p) could not be found",
    why = "as in the other SDKs; to the CLI it is another title" },
  { about = "a name with a blank, without quotes", env = { AWS_PROFILE = "a b" },
    config = keys("profile a b", "P"), refused = "there is no AWS profile 'a b'",
    cli = "(a b) could not be found" },

  { title = "How files are written" },
  { about = "one profile whose properties are indented", key = "P", region = "eu-central-1",
    env = { AWS_PROFILE = "other", AWS_REGION = false },
    config = section("default", "region = eu-west-1\n")
      .. section("profile other", "    region = eu-central-1\n    output = json"),
    credentials = keys("other", "P") },
  { about = "properties that are indented", key = "D", config = "[default]\n"
    .. "  aws_access_key_id = D\n  aws_secret_access_key = S\n" },
  { about = "sections and properties that are indented", key = "P", env = { AWS_PROFILE = "p" },
    config = "  [default]\n    region = us-east-1\n  [profile p]\n    aws_access_key_id = P\n"
      .. "    aws_secret_access_key = S\n" },
  { about = "`name: value`", key = "D", config = "[default]\naws_access_key_id: D\n"
    .. "aws_secret_access_key:S\n" },
  { about = "text behind ]", key = "D", config = "[default] of mine\naws_access_key_id = D\n"
    .. "aws_secret_access_key = S\n" },
  { about = "names in capitals", key = "D", config = "[default]\nAWS_ACCESS_KEY_ID = D\n"
    .. "Aws_Secret_Access_Key = S\n" },
  { about = "`[DEFAULT]`, which all sections share", key = "P", region = "us-east-2",
    env = { AWS_PROFILE = "p", AWS_REGION = false },
    config = section("DEFAULT", "region = us-east-2") .. keys("profile p", "P") },
  { about = "lines that end as on DOS", key = "D",
    config = "[default]\r\naws_access_key_id = D\r\naws_secret_access_key = S\r\n" },
  { about = "blanks that do not break, from a web page", key = "D",
    config = "[default]\n\u{A0} aws_access_key_id\u{A0}= D\u{A0}\n"
      .. "\u{A0} aws_secret_access_key = S\n" },
  { about = "a comment behind a value", key = "D", region = "us-east-2",
    env = { AWS_REGION = false },
    config = keys("default", "D", "region = us-east-2 # there"), cli = "us-east-2 # there",
    why = "a comment, as in the other SDKs; to the CLI it is part of the region" },
  { about = "a byte order mark", key = "D", config = "\u{FEFF}" .. keys("default", "D"),
    cli = "Unable to parse config file", why = "editors write it; the CLI cannot read the file" },
  { about = "a section twice", key = "D", region = "us-east-2", env = { AWS_REGION = false },
    config = keys("default", "D") .. section("default", "region = us-east-2"),
    cli = "Unable to parse config file",
      why = "sections of one title are one, as in the other SDKs" },
  { about = "a property twice", key = "D", region = "us-east-2", env = { AWS_REGION = false },
    config = keys("default", "D", "region = us-west-1\nregion = us-east-2"),
    cli = "Unable to parse config file", why = "the later counts, as in the other SDKs" },
  { about = "text behind ] with another ]", key = "D", config = "[default] # see [1]\n"
    .. "aws_access_key_id = D\naws_secret_access_key = S\n", cli = "credentials",
    why = "to the CLI the title goes on to the last ], and the section is nobody's" },
  { about = "a value in quotes", key = '"D"', config = '[default]\naws_access_key_id = "D"\n'
    .. "aws_secret_access_key = S\n" },
  { about = "a value over two lines", key = "PROGRAM", token = "P", files = { program = PROGRAM },
    config = section("default", "credential_process =  cat\n   DIR/program") },
  { about = "an indented line without =", config = keys("default", "D", "s3 =\n  junk"),
    refused = "DIR/.aws/config:5: no '='", cli = "Unable to parse config file" },
  { about = "a line without =", config = keys("default", "D", "junk"),
    refused = "DIR/.aws/config:4: no '='", cli = "Unable to parse config file" },
  { about = "a property before any section", config = "region = x\n" .. keys("default", "D"),
    refused = "DIR/.aws/config:1: this stands before any section",
    cli = "Unable to parse config file" },
  { about = "a credentials file that cannot be read", env = env({}), credentials = "junk",
    refused = "DIR/.aws/credentials:1:", cli = "Unable to parse config file" },
  { about = "a section that has no end", config = "[default\naws_access_key_id = D\n",
    refused = "DIR/.aws/config:1: a section has no end", cli = "Unable to parse config file" },
  { about = "a file of other bytes", config = "\x7FELF\2\1\1\0\0\xFF\xFE",
    refused = "DIR/.aws/config: byte 10 is not text in UTF-8",
    cli = "Unable to parse config file" },
  { about = "UTF-16", config = "\xFF\xFE[\0d\0]\0",
    refused = "DIR/.aws/config: the file is in UTF-16", cli = "Unable to parse config file" },

  { title = "Region and endpoint" },
  { about = "`AWS_REGION` before `AWS_DEFAULT_REGION`", key = "ENV", region = "us-east-2",
    env = env({ AWS_REGION = "us-east-2", AWS_DEFAULT_REGION = "us-west-1" }) },
  { about = "`region` of the profile", key = "P", region = "us-east-2",
    env = { AWS_PROFILE = "p", AWS_REGION = false },
    config = section("default", "region = us-west-1") .. keys("profile p", "P",
      "region = us-east-2") },
  { about = "`region` of the credentials file before the config file's", key = "D",
    region = "us-east-2", env = { AWS_REGION = false },
    config = section("default", "region = us-west-1"),
    credentials = keys("default", "D", "region = us-east-2") },
  { about = "the region of the instance", key = "INSTANCE", token = "I", region = "eu-north-1",
    env = { AWS_REGION = false }, world = { instance = INSTANCE } },
  { about = "`--region` before all, for STS too", key = "a-by-S", token = "T", region = "us-east-2",
    sts = { "https://sts.us-east-2.amazonaws.com/" }, flags = { region = "us-east-2" },
    env = { AWS_PROFILE = "r", AWS_STS_REGIONAL_ENDPOINTS = "legacy" },
    config = ROLE_BY_KEYS },
  { about = "no region", env = env({ AWS_REGION = false }), refused = "no AWS region is set",
    cli = "region" },
  { about = "a region that is no word", env = env({ AWS_REGION = "eu west" }),
    refused = "'eu west' (AWS_REGION) is not a region", cli = "eu west" },
  { about = "a region in capitals", env = env({ AWS_REGION = "EU-WEST-1" }),
    refused = "'EU-WEST-1' (AWS_REGION) is not a region",
    cli = { key = "ENV", region = "EU-WEST-1" },
    why = "no region is written so; AWS refuses the call" },
  { about = "`AWS_USE_FIPS_ENDPOINT=yes`", env = env({ AWS_USE_FIPS_ENDPOINT = "yes" }),
    refused = "AWS_USE_FIPS_ENDPOINT must be true or false, not 'yes'", cli = { key = "ENV" },
    why = "to the CLI all but true is false, in silence" },
  { about = "`ca_bundle` (warned of: of no effect)", key = "D",
    config = keys("default", "D", "ca_bundle = DIR/ca.pem"), files = { ["ca.pem"] = "" } },
  { about = "an endpoint with a path", key = "ENV", since = "1.31",
    endpoint = "http://127.0.0.1:1/ec2/",
    env = env({ AWS_ENDPOINT_URL = "http://127.0.0.1:1/ec2/" }) },
  { about = "an endpoint with a path that has no / at its end", key = "ENV", since = "1.31",
    endpoint = "http://127.0.0.1:1/ec2",
      env = env({ AWS_ENDPOINT_URL = "http://127.0.0.1:1/ec2" }) },
  { about = "an endpoint that is no URL", env = env({ AWS_ENDPOINT_URL = "localhost" }),
    since = "1.31",
    refused = "'localhost' (AWS_ENDPOINT_URL) is not an endpoint", cli = "Invalid endpoint" },
  { about = "an endpoint with a user", env = env({ AWS_ENDPOINT_URL = "http://u:p@127.0.0.1:1" }),
    refused = "is not an endpoint", cli = { key = "ENV", endpoint = "http://u:p@127.0.0.1:1/" },
    since = "1.31", why = "a password that ends up in logs" },
  { about = "`AWS_USE_FIPS_ENDPOINT`", key = "ENV",
    endpoint = "https://ec2-fips.eu-west-1.amazonaws.com/",
    env = env({ AWS_USE_FIPS_ENDPOINT = "true" }) },
  { about = "`use_dualstack_endpoint`", key = "D", endpoint = "https://ec2.eu-west-1.api.aws/",
    config = keys("default", "D", "use_dualstack_endpoint = true") },
  { about = "a region that is written as a FIPS region", key = "ENV", region = "us-east-1",
    endpoint = "https://ec2-fips.us-east-1.amazonaws.com/",
    env = env({ AWS_REGION = "fips-us-east-1" }) },
  { about = "a region of China", key = "ENV", region = "cn-north-1",
    endpoint = "https://ec2.cn-north-1.amazonaws.com.cn/",
    env = env({ AWS_REGION = "cn-north-1" }) },
  { about = "a configured endpoint, FIPS and dual stack", key = "ENV",
    endpoint = "https://vpce.example/", flags = { endpoint = "https://vpce.example" },
    env = env({ AWS_USE_FIPS_ENDPOINT = "true", AWS_USE_DUALSTACK_ENDPOINT = "true" }) },
  { about = "`AWS_ENDPOINT_URL_EC2` before `AWS_ENDPOINT_URL`", key = "ENV", since = "1.31",
    endpoint = "http://127.0.0.1:2/", env = env({ AWS_ENDPOINT_URL = "http://127.0.0.1:1",
      AWS_ENDPOINT_URL_EC2 = "http://127.0.0.1:2" }) },
  { about = "endpoints of `[services]`, and of the profile for the rest", key = "a-by-S",
    token = "T",
    since = "1.31", endpoint = "http://127.0.0.1:1/", sts = { "http://127.0.0.1:2/" },
    env = { AWS_PROFILE = "r" },
    config = section("profile r", "role_arn = ROLE/a\nsource_profile = s\nservices = local\n"
      .. "endpoint_url = http://127.0.0.1:2") .. keys("profile s", "S")
      .. section("services local", "ec2 =\n  endpoint_url = http://127.0.0.1:1") },
  { about = "`[services]` that are not there", since = "1.31",
    config = keys("default", "D", "services = gone"),
    refused = "profile default names the services 'gone', and there is no [services gone]",
    cli = '"gone" services' },
  { about = "configured endpoints that are to be ignored", key = "ENV", since = "1.31",
    env = env({ AWS_ENDPOINT_URL = "http://127.0.0.1:1",
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "true" }) },
}

-- ---- with all defaults ----

-- Replaces the placeholders in all strings of a value.
local function fill(value, dir)
  if type(value) == "string" then
    return (value:gsub("DIR", (dir:gsub("%%", "%%%%"))):gsub("ROLE/", ROLE .. "/"))
  elseif type(value) ~= "table" then
    return value
  end
  local all = {}
  for key, each in pairs(value) do all[key] = fill(each, dir) end
  return all
end

local function outcome(of, otherwise)
  local region = of.region or otherwise.region or "eu-west-1"
  return {
    key = of.key, token = of.token, region = region, sts = of.sts or {},
    endpoint = of.endpoint or otherwise.endpoint
      or ("https://ec2.%s.amazonaws.com/"):format(region),
  }
end

--- Returns the outcome of a set-up with moonfleet, and with the AWS CLI: an outcome, or a part of
--- the error.
---@param setup table
---@return table|string
---@return table|string
function setups.expected(setup)
  local ours = setup.refused or outcome(setup, {})
  local cli = setup.cli or ours
  if type(cli) == "table" and setup.cli then cli = outcome(cli, setup) end
  return ours, cli
end

--- Returns a set-up in a folder: texts without placeholders, the whole `env`, and `files` including
--- those of AWS.
---@param setup table
---@param dir string
---@return table
function setups.place(setup, dir)
  local s = fill(setup, dir)
  local whole = { HOME = dir, AWS_REGION = "eu-west-1" }
  if not (s.world and s.world.instance) then whole.AWS_EC2_METADATA_DISABLED = "true" end
  for name, value in pairs(s.env or {}) do whole[name] = value or nil end
  s.env, s.files, s.flags, s.world = whole, s.files or {}, s.flags or {}, s.world or {}
  s.files[".aws/config"], s.files[".aws/credentials"] = s.config, s.credentials
  return s
end

return setups
