-- SPDX-License-Identifier: MIT

local chain = require("fleet.aws.provider_chain")
local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")

local PROFILE = "[default]\naws_access_key_id = PROFILE\naws_secret_access_key = S\n"
  .. "[profile other]\naws_access_key_id = OTHER\naws_secret_access_key = S\n"
local STS = "<A><Credentials><AccessKeyId>WEB</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
  .. "<SessionToken>T</SessionToken><Expiration>2026-11-27T03:08:34Z</Expiration></Credentials></A>"

local function answer(url)
  if url:find("sts") then return 200, STS end
  if url:find("169.254.170.2", 1, true) then
    return 200, '{"AccessKeyId": "CONTAINER", "SecretAccessKey": "S"}'
  end
  if url:find("api/token") then return 200, "token" end
  if url:find("security%-credentials/$") then return 200, "role\n" end
  return 200, '{"Code": "Success", "AccessKeyId": "INSTANCE", "SecretAccessKey": "S", "Token": "T",'
    .. '"Expiration": "2026-11-27T03:08:34Z"}'
end

local function find(env, files, flags, answers)
  env.HOME, env.AWS_REGION = "/h", "eu-west-1"
  local fake = fake_aws.new({ env = env, answer = answers or answer, files = files or {} })
  local c, err = fleet_aws.new(fake:options(flags)).credentials:get()
  return c and c.key, err, c
end

describe("the chain", function()
  it("goes by the order of the AWS CLI", function()
    local env = {
      AWS_ACCESS_KEY_ID = "ENV", AWS_SECRET_ACCESS_KEY = "S", AWS_SESSION_TOKEN = "T",
      AWS_WEB_IDENTITY_TOKEN_FILE = "/token", AWS_ROLE_ARN = "arn",
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/x",
    }
    local files = { ["/h/.aws/config"] = PROFILE, ["/token"] = "jwt" }
    local flags = { credentials = { key = "FLAG", secret = "S" } }
    assert.equal("FLAG", (find(env, files, flags)))
    assert.equal("OTHER", (find(env, files, { profile = "other" })))
    local key, _, c = find(env, files)
    assert.same({ "ENV", "T", "the environment" }, { key, c.token, c.source })
    env.AWS_ACCESS_KEY_ID, env.AWS_SECRET_ACCESS_KEY = nil, nil
    assert.equal("WEB", (find(env, files)))
    env.AWS_WEB_IDENTITY_TOKEN_FILE = nil
    assert.equal("PROFILE", (find(env, files)))
    env.AWS_PROFILE = "other"
    assert.equal("OTHER", (find(env, files)))
    env.AWS_PROFILE = nil
    files["/h/.aws/config"] = nil
    assert.equal("CONTAINER", (find(env, files)))
    env.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = nil
    key, _, c = find(env, files)
    assert.same({ "INSTANCE", "T", 1795748914, "the instance, role role", true },
      { key, c.token, c.expires, c.source, c.lasting })
  end)

  it("says who asks, without asking", function()
    local files = { ["/h/.aws/config"] = PROFILE .. "[profile role]\nrole_arn = arn:r\n"
      .. "source_profile = default\n[profile bare]\n" }
    local function identity(env, flags)
      env.HOME = "/h"
      local fake = fake_aws.new({ env = env, files = files })
      return fleet_aws.new(fake:options(flags)):identity()
    end
    local env = { AWS_ACCESS_KEY_ID = "ENV" }
    assert.equal("key ENV", identity(env))
    assert.equal("profile other OTHER", identity(env, { profile = "other" }))
    assert.equal("role arn:w",
      identity({ AWS_WEB_IDENTITY_TOKEN_FILE = "/t", AWS_ROLE_ARN = "arn:w" }))
    assert.equal("profile default PROFILE", identity({}))
    assert.equal("profile role arn:r", identity({ AWS_PROFILE = "role" }))
    assert.equal("profile role arn:r", identity({
      AWS_PROFILE = "role", AWS_WEB_IDENTITY_TOKEN_FILE = "/t", AWS_ROLE_ARN = "arn:w",
    }))
    assert.equal("profile bare ", identity({ AWS_PROFILE = "bare" }))
    assert.equal("profile none ", identity({ AWS_PROFILE = "none" }))
  end)

  it("knows the end of keys of the environment, and the old name of their token", function()
    local env = { AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = "S", AWS_SECURITY_TOKEN = "OLD",
      AWS_SESSION_TOKEN = "NEW", AWS_CREDENTIAL_EXPIRATION = "2033-05-18T03:33:20Z" }
    local key, _, c = find(env)
    assert.same({ "A", "OLD", 2000000000 }, { key, c.token, c.expires })
    env.AWS_CREDENTIAL_EXPIRATION = "soon"
    assert.matches("AWS_CREDENTIAL_EXPIRATION is not a time such as", select(2, find(env)).message)
    env.AWS_CREDENTIAL_EXPIRATION = "2020-01-01T00:00:00Z"
    assert.matches("credentials from the environment have expired", select(2, find(env)).message)
  end)

  it("stops where something is set by halves, or wrong", function()
    for pattern, env in pairs({
      ["AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not"] = { AWS_ACCESS_KEY_ID = "x" },
      ["AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not"] =
        { AWS_SECRET_ACCESS_KEY = "x", AWS_ACCESS_KEY_ID = "" },
      ["AWS_WEB_IDENTITY_TOKEN_FILE names a web identity token, and there is no role"] =
        { AWS_WEB_IDENTITY_TOKEN_FILE = "/token" },
      ["there is no AWS profile 'gone' %(AWS_PROFILE%)"] = { AWS_PROFILE = "gone" },
      ["the environment has no valid secret access key"] =
        { AWS_ACCESS_KEY_ID = "a", AWS_SECRET_ACCESS_KEY = "hid den" },
    }) do
      local key, err = find(env, { ["/h/.aws/config"] = PROFILE })
      assert.is_nil(key)
      assert.matches(pattern, err.message)
      assert.not_matches("hid den", err.message)
    end
    local key, err = find({}, { ["/h/.aws/config"] = "junk" })
    assert.is_nil(key)
    assert.matches("^/h/.aws/config:1:", err.message)
  end)

  it("says where it looked when there is nothing", function()
    local key, err = find({ AWS_EC2_METADATA_DISABLED = "true" })
    assert.is_nil(key)
    assert.equal("credentials", err.kind)
    assert.matches("^no AWS credentials: none in the environment %(AWS_ACCESS_KEY_ID%), in profile "
      .. "default, from a container, or from the instance %(.*AWS_EC2_METADATA_DISABLED%)%)$",
      err.message)
    key, err = find({}, {}, nil, function(url)
      if url:find("api/token") then return 200, "token" end
      return 404
    end)
    assert.is_nil(key)
    assert.matches("the instance has no role", err.message)
  end)
end)

local BOTO = "[Credentials]\naws_access_key_id = %s\naws_secret_access_key = S\n"

local function find_legacy(env, files)
  env.HOME = "/h"
  local settings = fake_aws.new({ env = env, files = files }):settings()
  local c, err = chain.providers.legacy({ settings = settings })
  return c and c.key, err and err.message, c and c.source
end

describe("keys of older tools", function()
  it("are those of AWS_CREDENTIAL_FILE", function()
    local files = {
      ["/h/old"] = "# mine\n AWSAccessKeyId = A\r\nAWSSecretKey=S=+/\n", ["/h/.boto"] = "x",
    }
    local key, _, source = find_legacy({ AWS_CREDENTIAL_FILE = "~/old" }, files)
    assert.same({ "A", "/h/old" }, { key, source })
    assert.matches("there is no file /gone, which AWS_CREDENTIAL_FILE names",
      select(2, find_legacy({ AWS_CREDENTIAL_FILE = "/gone" }, files)))
    assert.matches("/k has no valid secret access key",
      select(2, find_legacy({ AWS_CREDENTIAL_FILE = "/k" }, { ["/k"] = "AWSAccessKeyId=A" })))
  end)

  it("are those of the files of boto 2", function()
    local files = {
      ["/etc/boto.cfg"] = "[Boto]\nx = 1\n", ["/h/.boto"] = BOTO:format("A"),
      ["/b"] = BOTO:format("B"),
    }
    assert.same({ "A", nil, "/h/.boto" }, { find_legacy({}, files) })
    assert.equal("B", (find_legacy({ BOTO_CONFIG = "/b" }, files)))
    files["/etc/boto.cfg"] = BOTO:format("E")
    assert.equal("E", (find_legacy({}, files)))
    assert.is_nil((find_legacy({ BOTO_CONFIG = "/gone" }, files)))
    files["/b"] = "junk"
    assert.matches("^/b:1: ", select(2, find_legacy({ BOTO_CONFIG = "/b" }, files)))
  end)

  it("are none without such files", function()
    assert.same({}, { find_legacy({}, {}) })
  end)
end)
