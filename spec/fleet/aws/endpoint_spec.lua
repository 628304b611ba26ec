-- SPDX-License-Identifier: MIT

local endpoint = require("fleet.aws.endpoint")
local fake_aws = require("spec.support.fake_aws")

local function find(env, config, flags, service)
  env.HOME = "/h"
  env.AWS_REGION = env.AWS_REGION or "eu-west-1"
  local w = fake_aws.new({ env = env, files = { ["/h/.aws/config"] = config } })
  return endpoint.find(w:settings(flags), service or "ec2")
end

describe("endpoint.build", function()
  -- {service, region, fips, dual, host}: what botocore's rules give
  local HOSTS = {
    { "ec2", "eu-west-1", false, false, "ec2.eu-west-1.amazonaws.com" },
    { "sts", "us-east-1", false, false, "sts.us-east-1.amazonaws.com" },
    { "autoscaling", "mx-central-1", false, false, "autoscaling.mx-central-1.amazonaws.com" },
    { "ec2", "eu-west-1", false, true, "ec2.eu-west-1.api.aws" },
    { "ec2", "us-east-1", true, false, "ec2-fips.us-east-1.amazonaws.com" },
    { "ec2", "us-east-1", true, true, "ec2-fips.us-east-1.api.aws" },
    { "ec2", "cn-north-1", false, false, "ec2.cn-north-1.amazonaws.com.cn" },
    { "ec2", "cn-north-1", false, true, "ec2.cn-north-1.api.amazonwebservices.com.cn" },
    { "sts", "us-gov-west-1", true, false, "sts.us-gov-west-1.amazonaws.com" },
    { "ec2", "us-gov-west-1", true, true, "ec2-fips.us-gov-west-1.api.aws" },
    { "ec2", "us-iso-east-1", false, false, "ec2.us-iso-east-1.c2s.ic.gov" },
    { "ec2", "us-isob-east-1", false, false, "ec2.us-isob-east-1.sc2s.sgov.gov" },
    { "ec2", "eu-isoe-west-1", false, false, "ec2.eu-isoe-west-1.cloud.adc-e.uk" },
    { "ec2", "us-isof-south-1", true, false, "ec2-fips.us-isof-south-1.csp.hci.ic.gov" },
    { "ec2", "eusc-de-east-1", false, false, "ec2.eusc-de-east-1.amazonaws.eu" },
    { "ec2", "xx-new-7", false, false, "ec2.xx-new-7.amazonaws.com" },
  }
  for _, row in ipairs(HOSTS) do
    it("knows " .. row[5], function()
      assert.equal("https://" .. row[5] .. "/", endpoint.build(row[1], row[2], row[3], row[4]))
    end)
  end
end)

describe("endpoint.find", function()
  local CONFIG = "[default]\nendpoint_url = http://profile\nservices = local\n"
    .. "[services local]\nec2 =\n  endpoint_url = http://services\n"
    .. "auto_scaling =\n  endpoint_url = http://as\n"

  it("takes the first that is configured", function()
    local env = { AWS_ENDPOINT_URL_EC2 = "http://ec2", AWS_ENDPOINT_URL = "http://all" }
    local flags = { endpoints = { ec2 = "http://flag:1" } }
    assert.same({ "http://flag:1/", "flag" }, { find(env, CONFIG, flags) })
    assert.same({ "http://ec2/", "AWS_ENDPOINT_URL_EC2" }, { find(env, CONFIG) })
    env.AWS_ENDPOINT_URL_EC2 = nil
    assert.same({ "http://all/", "AWS_ENDPOINT_URL" }, { find(env, CONFIG) })
    assert.same({ "http://services/", "services local" }, { find({}, CONFIG) })
    assert.same({ "http://as/", "services local" }, { find({}, CONFIG, nil, "autoscaling") })
    assert.same({ "http://profile/", "profile default" }, { find({}, CONFIG, nil, "sts") })
    assert.same({ "https://ec2.eu-west-1.amazonaws.com/", "region eu-west-1 (AWS_REGION)" },
      { find({}, nil) })
  end)

  it("skips variables and files on request, not flags", function()
    local env = { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "true", AWS_ENDPOINT_URL = "http://all" }
    assert.equal("https://ec2.eu-west-1.amazonaws.com/", (find(env, CONFIG)))
    assert.equal("http://f/", (find(env, CONFIG, { endpoints = { ec2 = "http://f" } })))
    assert.equal("https://ec2.eu-west-1.amazonaws.com/",
      (find({}, "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://x\n")))
  end)

  it("minds the wishes for FIPS and IPv6 of environment and profile", function()
    assert.equal("https://ec2.eu-west-1.api.aws/", (find({ AWS_USE_DUALSTACK_ENDPOINT = "true" })))
    assert.equal("https://ec2-fips.eu-west-1.amazonaws.com/",
      (find({}, "[default]\nuse_fips_endpoint = true\n")))
    assert.equal("https://ec2.eu-west-1.amazonaws.com/",
      (find({ AWS_USE_FIPS_ENDPOINT = "false" }, "[default]\nuse_fips_endpoint = true\n")))
  end)

  it("is the configured one whatever kind of host is wanted", function()
    assert.equal("http://x/", (find({
      AWS_USE_FIPS_ENDPOINT = "true", AWS_USE_DUALSTACK_ENDPOINT = "true",
      AWS_ENDPOINT_URL = "http://x",
    })))
  end)

  it("is a FIPS host in a region that is written so", function()
    for _, name in ipairs({ "fips-eu-west-1", "eu-west-1-fips" }) do
      assert.equal("https://ec2-fips.eu-west-1.amazonaws.com/", (find({ AWS_REGION = name })))
    end
  end)

  it("fails loudly for what cannot be", function()
    local function fails(pattern, ...)
      local url, _, err = find(...)
      assert.is_nil(url)
      assert.equal("config", err.kind)
      assert.matches(pattern, err.message)
    end
    fails("must be true or false", { AWS_USE_FIPS_ENDPOINT = "1" })
    fails("there is no %[services gone%] in /h/.aws/config", {}, "[default]\nservices = gone\n")
    for _, url in ipairs({
      "ftp://x", "x", "http://", "http://a b", "http://u:p@h/", "http://h/?q",
    }) do
      fails("is not an endpoint", { AWS_ENDPOINT_URL = url })
    end
    fails("is not a region", { AWS_REGION = "EU" })
  end)
end)
