-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")

local STS = "<A><Credentials><AccessKeyId>ASIA%d</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
  .. "<SessionToken>T</SessionToken><Expiration>2026-11-27T03:08:34Z</Expiration></Credentials></A>"

-- What credentials a config file gives for a profile.
local function find(config, name, fields)
  fields = fields or {}
  fields.env = fields.env or {}
  fields.env.HOME, fields.env.AWS_REGION, fields.env.AWS_EC2_METADATA_DISABLED = "/h", "x-1", "true"
  fields.files = { ["/h/.aws/config"] = config, ["/token"] = "jwt" }
  fields.answer = fields.answer or function(_, _, n) return 200, STS:format(n) end
  local fake = fake_aws.new(fields)
  local c, err = fleet_aws.new(fake:options({ profile = name or "p" })).credentials:get()
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
  it("with keys has them", function()
    local c = assert(find("[profile p]\naws_access_key_id = A\naws_secret_access_key = S\n"
      .. "aws_session_token = T\n"))
    assert.same({ "A", "S", "T", "profile p" }, { c.key, c.secret, c.token, c.source })
    fails("profile p has aws_access_key_id, and no aws_secret_access_key",
      "[profile p]\naws_access_key_id = A\n")
    fails("profile p has aws_secret_access_key, and no", "[profile p]\naws_secret_access_key = A\n")
  end)

  it("with a program runs it", function()
    local ran
    local c = assert(find("[profile p]\ncredential_process = 'my helper' --x # not this\n", "p", {
      run = function(words)
        ran = words
        return '{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}'
      end,
    }))
    assert.same({ "my helper", "--x" }, ran)
    assert.equal("profile p, credential_process", c.source)
  end)

  local KEYS = "[profile base]\naws_access_key_id = A\naws_secret_access_key = S\n"

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
    fails("name each other", table.concat(long), "p1")
  end)

  it("that needs a person is refused, with what to do", function()
    fails("needs an MFA code.*credential_process",
      KEYS .. "[profile p]\nrole_arn = a\nsource_profile = base\nmfa_serial = arn:mfa\n")
    for _, key in ipairs({ "sso_session", "sso_start_url", "login_session" }) do
      fails("not supported.*credential_process = aws configure export%-credentials %-%-profile p",
        ("[profile p]\n%s = x\n"):format(key))
    end
  end)
end)
