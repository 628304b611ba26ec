-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")

local STS = "<A><Credentials><AccessKeyId>ASIA%d</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
  .. "<SessionToken>T</SessionToken><Expiration>2026-11-27T03:08:34Z</Expiration></Credentials></A>"

-- What credentials a config file gives for a profile; `name` false: for that of the environment.
local function find(config, name, fields)
  fields = fields or {}
  fields.env = fields.env or {}
  fields.env.HOME, fields.env.AWS_REGION, fields.env.AWS_EC2_METADATA_DISABLED = "/h", "x-1", "true"
  fields.files = {
    ["/h/.aws/config"] = config, ["/h/.aws/credentials"] = fields.credentials, ["/token"] = "jwt",
  }
  fields.answer = fields.answer or function(_, _, n) return 200, STS:format(n) end
  local fake = fake_aws.new(fields)
  local flags = name ~= false and { profile = name or "p" } or nil
  local c, err = fleet_aws.new(fake:options(flags)).credentials:get()
  return c, err, fake
end

local function fails(pattern, config, name, fields)
  local c, err, fake = find(config, name, fields)
  assert.is_nil(c)
  assert.equal("credentials", err.kind)
  assert.matches(pattern, err.message)
  return fake
end

describe("a profile", function()
  local KEYS = "[profile base]\naws_access_key_id = A\naws_secret_access_key = S\n"

  it("with keys has them", function()
    local c = assert(find("[profile p]\naws_access_key_id = A\naws_secret_access_key = S\n"
      .. "aws_session_token = T\n"))
    assert.same({ "A", "S", "T", "profile p" }, { c.key, c.secret, c.token, c.source })
    fails("profile p has aws_access_key_id in /h/.aws/config, and no aws_secret_access_key there",
      "[profile p]\naws_access_key_id = A\n")
    fails("profile p has aws_secret_access_key in /h/.aws/config, and no",
      "[profile p]\naws_secret_access_key = A\n")
  end)

  local function keys(title, key, more)
    return ("[%s]\naws_access_key_id = %s\naws_secret_access_key = S\n%s\n"):format(title, key,
      more or "")
  end

  it("has keys and token of one file", function()
    local function found(credentials, config)
      local c, err = find(config, "p", { credentials = credentials })
      return c and { c.key, c.token }, err and err.message
    end
    assert.same({ "A" }, found(keys("p", "A"), "[profile p]\naws_session_token = OLD\n"))
    assert.same({ "A", "T" }, found(keys("p", "A", "aws_session_token = T"),
      keys("profile p", "B", "aws_session_token = OLD")))
    assert.same({ "B", "T" }, found("[p]\naws_session_token = OLD\n",
      keys("profile p", "B", "aws_security_token = T")))
    assert.matches("profile p has aws_access_key_id in /h/.aws/credentials, and no aws_secret_acc",
      select(2, found("[p]\naws_access_key_id = A\n", keys("profile p", "B"))))
  end)

  it("has one place after the other, in the order of the AWS CLI", function()
    local function run() return '{"Version": 1, "AccessKeyId": "RUN", "SecretAccessKey": "S"}' end
    local config = keys("profile p", "CONFIG")
    local steps = {
      { "CONFIG" }, { "RUN", "credential_process = x\n" }, { "aws login", "login_session = x\n" },
      { "CRED", "", keys("p", "CRED") }, { "SSO", "sso_role_name = x\n" },
      { "ASIA1", "role_arn = arn:w\nweb_identity_token_file = /token\n" },
    }
    local credentials
    for _, step in ipairs(steps) do -- each goes before those above it
      config, credentials = config .. (step[2] or ""), step[3] or credentials
      local c, err = find(config, "p", { run = run, credentials = credentials })
      assert.matches(step[1], c and c.key or err.message)
    end
  end)

  it("gives its keys to the role of another, also when it has a role of its own", function()
    local c, _, fake = find(KEYS .. "role_arn = arn:b\nsource_profile = base\n"
      .. "[profile p]\nrole_arn = arn:p\nsource_profile = base\n")
    assert.equal("ASIA1", c.key)
    assert.equal(1, #fake.asked)
    assert.equal("A", fake.asked[1].sign.key)
    assert.matches("arn%%3Ap", fake.asked[1].body)
  end)

  it("goes with the web identity of the environment, unless it is a flag or has a role", function()
    local env = {
      AWS_WEB_IDENTITY_TOKEN_FILE = "/token", AWS_ROLE_ARN = "arn:w", AWS_PROFILE = "p",
    }
    local function body_of(config, name)
      local _, _, fake = find(config, name, { env = env, name = name })
      return fake.asked[1] and fake.asked[1].body
    end
    assert.matches("arn%%3Aw", body_of(keys("profile p", "A"), false))
    assert.is_nil(body_of(keys("profile p", "A"), "p"))
    assert.matches("arn%%3Ap", body_of(KEYS .. "[profile p]\nrole_arn = arn:p\n"
      .. "source_profile = base\n", false))
  end)

  it("with a program runs it", function()
    local ran
    local c = assert(find("[profile p]\ncredential_process = 'my helper' --x '; #'\n", "p", {
      run = function(words)
        ran = words
        return '{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}'
      end,
    }))
    assert.same({ "my helper", "--x", "; #" }, ran)
    assert.equal("profile p, credential_process", c.source)
  end)

  it("with a role assumes it by the credentials of another", function()
    local c, _, fake = find(KEYS .. "[profile mid]\nrole_arn = arn:m\nsource_profile = base\n"
      .. "[profile p]\nrole_arn = arn:p\nsource_profile = mid\nrole_session_name = me\n")
    assert.equal("ASIA2", c.key)
    assert.equal("profile p, role arn:p", c.source)
    assert.equal("A", fake.asked[1].sign.key)
    assert.matches("RoleArn=arn%%3Am", fake.asked[1].body)
    assert.equal("ASIA1", fake.asked[2].sign.key)
    assert.matches("RoleArn=arn%%3Ap&RoleSessionName=me", fake.asked[2].body)
  end)

  it("may be its own source when it has keys", function()
    local c, _, fake = find("[profile p]\naws_access_key_id = A\naws_secret_access_key = S\n"
      .. "role_arn = arn:p\nsource_profile = p\n")
    assert.equal("ASIA1", c.key)
    assert.equal("A", fake.asked[1].sign.key)
    fails("its own source_profile, and has no keys",
      "[profile p]\nrole_arn = a\nsource_profile = p")
  end)

  it("may assume a role by what the environment or the container has", function()
    local config = "[profile p]\nrole_arn = arn:p\ncredential_source = %s\n"
    local env = { AWS_ACCESS_KEY_ID = "E", AWS_SECRET_ACCESS_KEY = "S" }
    local _, _, fake = find(config:format("Environment"), "p", { env = env })
    assert.equal("E", fake.asked[1].sign.key)
    _, _, fake = find(config:format("EcsContainer"), "p", {
      env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x" },
      answer = function(url)
        if url:find("sts") then return 200, STS:format(1) end
        return 200, '{"AccessKeyId": "C", "SecretAccessKey": "S", "Token": "T"}'
      end,
    })
    assert.equal("C", fake.asked[2].sign.key)
    fails("wants credentials from Environment, and there are none", config:format("Environment"))
    fails("must be Environment, EcsContainer or Ec2InstanceMetadata, not 'Ec2'",
      config:format("Ec2"))
  end)

  it("may assume a role by a token in a file", function()
    local c, _, fake = find("[profile p]\nrole_arn = arn:p\nweb_identity_token_file = /token\n")
    assert.equal("ASIA1", c.key)
    assert.is_nil(fake.asked[1].sign)
    assert.matches("WebIdentityToken=jwt", fake.asked[1].body)
  end)

  it("that leads in circles, or nowhere, is refused", function()
    local fake = fails("name each other as source_profile: p, q",
      "[profile p]\nrole_arn = a\nsource_profile = q\n"
      .. "[profile q]\nrole_arn = b\nsource_profile = p")
    assert.equal(0, #fake.asked)
    fails("profile q, the source_profile of p, has no credentials",
      "[profile p]\nrole_arn = a\nsource_profile = q\n[profile q]\nregion = x\n")
    fails("neither source_profile nor credential_source", "[profile p]\nrole_arn = a\n")
    fails("both source_profile and credential_source",
      "[profile p]\nrole_arn = a\nsource_profile = p\ncredential_source = Environment\n")
    local c, err = find("[profile p]\nrole_arn = a\nsource_profile = gone\n")
    assert.is_nil(c)
    assert.matches("there is no AWS profile 'gone'", err.message)
    local long = {}
    for i = 1, 20 do
      long[i] = ("[profile p%d]\nrole_arn = a\nsource_profile = p%d\n"):format(i, i + 1)
    end
    fails("a chain of more than 10 profiles by source_profile: p1, p2", table.concat(long), "p1")
  end)

  it("that needs a person is refused, with what to do", function()
    fails("needs an MFA code.*credential_process",
      KEYS .. "[profile p]\nrole_arn = a\nsource_profile = base\nmfa_serial = arn:mfa\n")
    for _, key in ipairs({ "sso_account_id", "sso_role_name", "login_session" }) do
      fails("not supported.*credential_process = aws configure export%-credentials %-%-profile p",
        ("[profile p]\n%s = x\n"):format(key))
    end
  end)
end)
