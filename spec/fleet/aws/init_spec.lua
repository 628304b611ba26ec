-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local fleet_aws = require("fleet.aws")

describe("aws.new", function()
  it("asks and reads nothing by itself", function()
    local fake = fake_aws.new({})
    local options = fake:options()
    options.getenv = error
    options.read = error
    fleet_aws.new(options)
    assert.equal(0, #fake.asked)
  end)

  it("describes what is configured, and where", function()
    local fake = fake_aws.new({
      env = { HOME = "/h", AWS_PROFILE = "p", AWS_EC2_METADATA_DISABLED = "true" },
      files = { ["/h/.aws/config"] = "[profile p]\naws_access_key_id = AKID\n"
        .. "aws_secret_access_key = s3cr3t\nregion = eu-west-1\n" },
    })
    local rows = fleet_aws.new(fake:options()):describe()
    assert.same({
      { name = "profile", value = "p", source = "AWS_PROFILE" },
      { name = "region", value = "eu-west-1", source = "profile p" },
      { name = "ec2 endpoint", value = "https://ec2.eu-west-1.amazonaws.com/",
        source = "region eu-west-1 (profile p)" },
      { name = "credentials", value = "AKID", source = "profile p" },
    }, rows)
    fake.files["/h/.aws/config"] = "[profile p]\n"
    rows = fleet_aws.new(fake:options()):describe()
    assert.matches("no AWS region", rows[2].err.message)
    assert.matches("no AWS credentials", rows[4].err.message)
    fake.files["/h/.aws/config"] = "[profile q]\n"
    rows = fleet_aws.new(fake:options()):describe()
    assert.matches("no AWS profile 'p' %(AWS_PROFILE%)", rows[1].err.message)
  end)
end)
