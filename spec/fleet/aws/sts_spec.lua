-- SPDX-License-Identifier: MIT

local credentials = require("fleet.aws.credentials")
local fake_aws = require("spec.support.fake_aws")
local callers = require("fleet.aws.caller")
local sts = require("fleet.aws.sts")

local GOOD = "<A><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
  .. "<SessionToken>T</SessionToken><Expiration>2026-11-27T03:08:34Z</Expiration></Credentials></A>"
local ROLE = { arn = "arn:aws:iam::1:role/r", source = "profile p" }

local function caller(answer, files)
  local fake = fake_aws.new({ env = { AWS_REGION = "eu-west-1" }, files = files, answer = answer })
  return callers.new({ settings = fake:settings(), tools = fake:options() }), fake
end

describe("sts", function()
  it("assumes a role by other credentials", function()
    local q, fake = caller(function() return 200, GOOD end)
    local own = assert(credentials.new({ key = "AKID", secret = "s", token = "t", source = "x" }))
    local c = assert(sts.assume_role(q, { arn = ROLE.arn, source = "profile p", external_id = "e/1",
      duration = "900" }, own))
    assert.same({ "ASIA", "S", "T", 1795748914 }, { c.key, c.secret, c.token, c.expires })
    assert.equal("profile p, role arn:aws:iam::1:role/r", c.source)
    local asked = fake.asked[1]
    assert.equal("https://sts.eu-west-1.amazonaws.com/", asked.url)
    assert.equal("Action=AssumeRole&DurationSeconds=900&ExternalId=e%2F1&RoleArn=arn%3Aaws%3Aiam%3A"
      .. "%3A1%3Arole%2Fr&RoleSessionName=moonfleet-1700000000&Version=2011-06-15", asked.body)
    assert.same({ service = "sts", region = "eu-west-1", key = "AKID", secret = "s" }, asked.sign)
    assert.equal("t", asked.headers["x-amz-security-token"])
  end)

  it("does so once when its credentials are refused", function()
    local q, fake = caller(function()
      return 403, "<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>"
    end)
    local own = assert(credentials.new({ key = "AKID", secret = "s", source = "x" }))
    local c, err = sts.assume_role(q, ROLE, own)
    assert.is_nil(c)
    assert.equal("InvalidClientTokenId", err.code)
    assert.equal(1, #fake.asked)
  end)

  it("takes a token of an identity provider, unsigned, read anew each time", function()
    local q, fake = caller(function() return 200, GOOD end, { ["/token"] = " eyJ.a-b_c \n" })
    assert(sts.web_identity(q, { arn = ROLE.arn, source = "x", session = "me" }, "/token"))
    assert.is_nil(fake.asked[1].sign)
    assert.matches("RoleSessionName=me&.*WebIdentityToken=eyJ.a%-b_c$", fake.asked[1].body)
    fake.files["/token"] = "another"
    assert(sts.web_identity(q, ROLE, "/token"))
    assert.matches("WebIdentityToken=another$", fake.asked[2].body)
  end)

  it("says what is wrong with the token's file", function()
    for text, pattern in pairs({ [" \n"] = "is empty", [false] = "there is no such file" }) do
      local q, fake = caller(nil, { ["/token"] = text or nil })
      local c, err = sts.web_identity(q, ROLE, "/token")
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
      assert.matches(pattern, err.message)
      assert.equal(0, #fake.asked)
    end
  end)

  it("takes no half answers", function()
    for _, body in ipairs({ "", "<Credentials>", (GOOD:gsub("<SessionToken>.*", "")),
      (GOOD:gsub("2026", "soon")), (GOOD:gsub(">S<", "><")) }) do
      local q = caller(function() return 200, body end)
      local own = assert(credentials.new({ key = "AKID", secret = "s", source = "x" }))
      local c, err = sts.assume_role(q, ROLE, own)
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
    end
  end)
end)
