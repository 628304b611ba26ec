-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")
local json = require("fleet.json")
local ssm = require("fleet.aws.ssm")

-- Parameter Store, as far as it is needed: answers by action, each a table or a list of status and
-- table; the last one for ever.
local function store(answers)
  local fake = fake_aws.new({ env = {
    AWS_REGION = "eu-west-1", AWS_ACCESS_KEY_ID = "AKID", AWS_SECRET_ACCESS_KEY = "s3cr3t",
  }, answer = function(_, q)
    local action = q.headers["x-amz-target"]:match("^AmazonSSM%.(%a+)$")
    local answer = answers[action]
    if #answer > 0 then answer = #answer > 1 and table.remove(answer, 1) or answer[1] end
    return answer.status or 200, json.encode(answer.body or answer)
  end })
  return fleet_aws.new(fake:options()), fake
end

local function refusal(code, message)
  return { status = 400, body = { __type = code, message = message } }
end

local function parameter(fields)
  fields.Name = fields.Name or "/moonfleet/search/node"
  return { Parameter = fields }
end

describe("fleet.aws.ssm", function()
  it("reads a parameter as a secret", function()
    local view, fake = store({ GetParameter = parameter({
      Type = "SecureString", Value = "k3y", Version = 7, LastModifiedDate = 1700000000.5,
    }) })
    local found = assert(ssm.get(view, "/moonfleet/search/node"))
    assert.same({ 7, 1700000000.5, 3 }, { found.version, found.modified, found.value:size() })
    assert.not_matches("k3y", tostring(found.value) .. fake.said)
    assert.same({ Name = "/moonfleet/search/node", WithDecryption = true },
      json.decode(fake.asked[1].body))
    assert.is_true(fake.asked[1].secret)
    assert.equal(7, ssm.version(view, "/moonfleet/search/node"))
    assert.is_false(json.decode(fake.asked[2].body).WithDecryption)
    assert.is_nil(fake.asked[2].secret)
  end)

  it("takes no parameter that is not encrypted, and no half answers", function()
    local view = store({ GetParameter = parameter({ Type = "String", Value = "k", Version = 1 }) })
    local found, err = ssm.get(view, "/a")
    assert.is_nil(found)
    assert.equal("config", err.kind)
    assert.equal("parameter /a is a String, which is not encrypted: store keys as SecureString, as "
      .. "moonfleet keygen --store does", err.message)
    for _, answer in ipairs({ parameter({ Type = "SecureString", Version = 1 }), { a = 1 },
      parameter({ Type = "SecureString", Value = "k" }), { Parameter = 3 } }) do
      view = store({ GetParameter = answer })
      assert.equal("protocol", select(2, ssm.get(view, "/a")).kind)
    end
    view = store({ GetParameter = { Parameter = { Version = "1" } } })
    assert.equal("protocol", select(2, ssm.version(view, "/a")).kind)
  end)

  it("says in words what is wrong", function()
    local function message(code, text)
      local view = store({ GetParameter = refusal(code, text) })
      local found, err = ssm.get(view, "/moonfleet/search/node")
      assert.is_nil(found)
      return err.message
    end
    assert.equal("there is no parameter /moonfleet/search/node in eu-west-1 (another region: "
      .. "--region or AWS_REGION)", message("ParameterNotFound"))
    assert.matches('the role fleet lacks ssm:GetParameter: allow it in its policy: {"Effect": '
      .. '"Allow", "Action": "ssm:GetParameter", "Resource": "arn:aws:ssm:eu%-west%-1:1:parameter/'
      .. 'moonfleet/search/node"}', message("AccessDeniedException", "User: arn:aws:sts::1:"
      .. "assumed-role/fleet/i-1 is not authorized to perform: ssm:GetParameter on resource: "
      .. "arn:aws:ssm:eu-west-1:1:parameter/moonfleet/search/node because no policy allows it"))
    assert.matches('"Resource": "arn:aws:ssm:%*:%*:parameter/moonfleet/search/node"}$',
      message("AccessDeniedException"))
    assert.matches('lacks kms:Decrypt: allow it in its policy: {"Effect": "Allow", "Action": '
      .. '"kms:Decrypt", "Resource": "%*"}', message("AccessDeniedException", "User: "
      .. "arn:aws:sts::1:assumed-role/fleet/i-1 is not authorized to perform: kms:Decrypt"))
    for _, row in ipairs({ { "InvalidKeyId", "key k is disabled" }, { "AccessDeniedException",
      "The ciphertext refers to a customer master key that does not exist" } }) do
      assert.matches("^the KMS key of parameter /moonfleet/search/node cannot be used: it is "
        .. "disabled or deleted, or its policy or ours lacks kms:Decrypt", message(row[1], row[2]))
    end
    assert.matches("AWS rejects the credentials from the environment: ExpiredTokenException",
      message("ExpiredTokenException", "The security token included in the request is expired"))
  end)

  it("lists what is below a path, page by page", function()
    local view, fake = store({ DescribeParameters = {
      { Parameters = { { Name = "/a/b", Version = 2, KeyId = "alias/x" } }, NextToken = "n" },
      { Parameters = { { Name = "/a/c", Version = 1 } } },
    } })
    assert.same({ ["/a/b"] = { version = 2, key = "alias/x" }, ["/a/c"] = { version = 1 } },
      ssm.list(view, "/a"))
    local body = json.decode(fake.asked[2].body)
    assert.same({ 50, "n", { { Key = "Path", Option = "OneLevel", Values = { "/a" } } } },
      { body.MaxResults, body.NextToken, body.ParameterFilters })
    view = store({ DescribeParameters = { Parameters = {}, NextToken = "n" } })
    assert.matches("more than 100 pages", select(2, ssm.list(view, "/a")).message)
  end)

  it("writes a new parameter with tags, and another version without", function()
    local view, fake = store({ PutParameter = { Version = 1, Tier = "Standard" } })
    assert.equal(1, ssm.put(view, "/a", "text", { description = "d", tags = { t = "v" } }))
    assert.same({
      Name = "/a", Value = "text", Type = "SecureString", Tier = "Intelligent-Tiering",
      Description = "d", Overwrite = false, Tags = { { Key = "t", Value = "v" } },
    }, json.decode(fake.asked[1].body))
    assert.equal(1, ssm.put(view, "/a", "text", { description = "d", overwrite = true, key = "k" }))
    local body = json.decode(fake.asked[2].body)
    assert.same({ true, "k" }, { body.Overwrite, body.KeyId })
    assert.is_nil(body.Tags) -- AWS refuses both together
  end)
end)
