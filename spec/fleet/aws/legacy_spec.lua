-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local legacy = require("fleet.aws.legacy")

local BOTO = "[Credentials]\naws_access_key_id = %s\naws_secret_access_key = S\n"

local function find(env, files)
  env.HOME = "/h"
  local c, err = legacy.credentials(fake_aws.new({ env = env, files = files }):settings())
  return c and c.key, err and err.message, c and c.source
end

describe("keys of older tools", function()
  it("are those of AWS_CREDENTIAL_FILE", function()
    local files = {
      ["/h/old"] = "# mine\n AWSAccessKeyId = A\r\nAWSSecretKey=S=+/\n", ["/h/.boto"] = "x",
    }
    local key, _, source = find({ AWS_CREDENTIAL_FILE = "~/old" }, files)
    assert.same({ "A", "/h/old" }, { key, source })
    assert.matches("there is no file /gone, which AWS_CREDENTIAL_FILE names",
      select(2, find({ AWS_CREDENTIAL_FILE = "/gone" }, files)))
    assert.matches("/k has an access key id, and no secret access key",
      select(2, find({ AWS_CREDENTIAL_FILE = "/k" }, { ["/k"] = "AWSAccessKeyId=A" })))
  end)

  it("are those of the files of boto 2", function()
    local files = {
      ["/etc/boto.cfg"] = "[Boto]\nx = 1\n", ["/h/.boto"] = BOTO:format("A"),
      ["/b"] = BOTO:format("B"),
    }
    assert.same({ "A", nil, "/h/.boto" }, { find({}, files) })
    assert.equal("B", (find({ BOTO_CONFIG = "/b" }, files)))
    files["/etc/boto.cfg"] = BOTO:format("E")
    assert.equal("E", (find({}, files)))
    assert.is_nil((find({ BOTO_CONFIG = "/gone" }, files)))
    files["/b"] = "junk"
    assert.matches("^/b:1: ", select(2, find({ BOTO_CONFIG = "/b" }, files)))
  end)

  it("are none without such files", function()
    assert.same({}, { find({}, {}) })
  end)
end)
