-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")
local json_rpc = require("fleet.aws.json_rpc")

local function view_of(answer)
  local fake = fake_aws.new({ env = {
    AWS_REGION = "eu-west-1", AWS_ACCESS_KEY_ID = "AKID", AWS_SECRET_ACCESS_KEY = "s3cr3t",
    AWS_SESSION_TOKEN = "t0k3n",
  }, answer = answer })
  return fleet_aws.new(fake:options()), fake
end

describe("a call of a JSON API", function()
  it("is one signed object, whose action is in a header", function()
    local view, fake = view_of(function() return 200, "{}" end)
    assert.equal("{}", view:json("ssm", "AmazonSSM", "GetParameter", { Name = "/a" },
      { max_bytes = 9, secret = false }))
    local q = fake.asked[1]
    assert.equal("https://ssm.eu-west-1.amazonaws.com/", q.url)
    assert.same({ "POST", '{"Name":"/a"}', 9 }, { q.method, q.body, q.max_bytes })
    assert.same({ service = "ssm", region = "eu-west-1", key = "AKID", secret = "s3cr3t" }, q.sign)
    assert.same({
      ["content-type"] = "application/x-amz-json-1.1", ["x-amz-target"] = "AmazonSSM.GetParameter",
      ["x-amz-security-token"] = "t0k3n",
    }, q.headers)
  end)

  it("is retried as the others are, and its errors are read", function()
    local view, fake = view_of(function(_, _, n)
      if n < 3 then return 400, '{"__type":"ThrottlingException","message":"Rate exceeded"}' end
      return 400, '{"__type":"com.amazonaws.ssm#ParameterNotFound"}', { ["x-amzn-requestid"] = "r" }
    end)
    local body, err = view:json("ssm", "AmazonSSM", "GetParameter", { Name = "/a" })
    assert.is_nil(body)
    assert.same({ "ParameterNotFound", 400, "r", 3 },
      { err.code, err.status, err.request_id, #fake.asked })
  end)

  it("takes an error in any of the forms that services use", function()
    local function read(body, headers)
      local fields = json_rpc.read_error({ body = body, headers = headers or {} })
      return { fields.code or false, fields.message or false, fields.id or false }
    end
    assert.same({ "X", "m", false }, read('{"__type":"a.b#X","message":"m"}'))
    assert.same({ "X", "m", "i" }, read('{"__type":"X","Message":"m"}',
      { ["x-amzn-requestid"] = "i" }))
    assert.same({ "X", false, false }, read("", { ["x-amzn-errortype"] = "X:http://internal/" }))
    assert.same({ "AccessDenied", "no", false },
      read("<E><Error><Code>AccessDenied</Code><Message>no</Message></Error></E>"))
    for _, body in ipairs({ "", "<html>", "[]", "null", '{"__type":3,"message":{}}' }) do
      assert.same({ false, false, false }, read(body))
    end
  end)
end)
