-- SPDX-License-Identifier: MIT

local credentials = require("fleet.aws.credentials")
local read_error = require("fleet.aws.query").read_error
local service_error = require("fleet.aws.service_error")

local CALL = {
  service = "ec2", action = "DescribeInstances", url = "https://ec2.eu-west-1.amazonaws.com/",
  region = "eu-west-1", read_error = read_error,
}
local NOW = 1709208000
local DATE = "Thu, 29 Feb 2024 12:00:00 GMT"

local function of(status, code, message, now, date, call, own)
  own = own or assert(credentials.new({
    key = "AKID", secret = "s3cr3t", token = "t0k3n", source = "here",
  }))
  local body = code and ("<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error>"
    .. "</Errors><RequestID>r</RequestID></Response>"):format(code, message or "") or message or ""
  local response = { status = status, body = body, headers = { date = date or DATE } }
  return service_error.of_answer(call or CALL, response, own, now or NOW)
end

describe("an error of a service", function()
  it("says which permission who lacks", function()
    local err = of(403, "UnauthorizedOperation", "You are not authorized to perform this "
      .. "operation. User: arn:aws:sts::123456789012:assumed-role/moonfleet/i-0abc is not "
      .. "authorized to perform: ec2:DescribeInstances because no identity-based policy allows it. "
      .. "Encoded authorization failure message: " .. ("A"):rep(500))
    assert.equal("denied", err.class)
    assert.matches("^ec2 DescribeInstances: the role moonfleet lacks ec2:DescribeInstances: allow "
      .. "it in its policy: {\"Effect\": \"Allow\", \"Action\": \"ec2:DescribeInstances\", "
      .. "\"Resource\": \"%*\"} %(You are not", err.message)
    assert.not_matches("AAAA", err.message)
    assert.same({ "UnauthorizedOperation", 403, "r" }, { err.code, err.status, err.request_id })
    err = of(403, "AccessDenied", "User: arn:aws:iam::1:user/jo is not authorized to perform: "
      .. "ec2:DescribeVpcs")
    assert.matches("the user jo lacks ec2:DescribeVpcs", err.message)
    assert.matches("the owner of the credentials from here lacks ec2:DescribeInstances",
      of(403, "UnauthorizedOperation").message)
  end)

  it("says which policies keep a role from being assumed", function()
    local call = { service = "sts", action = "AssumeRole", url = "https://sts", role = "arn:r",
      read_error = read_error }
    assert.matches("the user jo lacks sts:AssumeRole: the trust policy of arn:r must allow it, and "
      .. "so must the caller's own policy %(User: ", of(403, "AccessDenied", "User: arn:aws:iam::1:"
      .. "user/jo is not authorized to perform: sts:AssumeRole on resource: arn:r", nil, nil,
      call).message)
    call.action = "AssumeRoleWithWebIdentity"
    assert.matches("lacks sts:AssumeRoleWithWebIdentity: the trust policy of arn:r must allow it$",
      of(403, "AccessDenied", "", nil, nil, call).message)
  end)

  it("says what may be wrong with credentials that nobody knows", function()
    local function message(code, fields)
      fields.secret, fields.source = "s", "here"
      return of(401, code, "no", nil, nil, nil, assert(credentials.new(fields))).message
    end
    assert.matches("ASIA need a session token", message("AuthFailure", { key = "ASIA1" }))
    for _, fields in ipairs({ { key = "AKIA1" }, { key = "ASIA1", token = "t" } }) do
      assert.matches("is the secret right, and is eu%-west%-1 enabled for the account%?$",
        message("AuthFailure", fields))
    end
    assert.matches(": no$", message("ExpiredToken", { key = "ASIA1", token = "t" }))
  end)

  it("says whose credentials are not taken", function()
    local err = of(401, "AuthFailure", "AWS was not able to validate the provided access "
      .. "credentials")
    assert.equal("stale", err.class)
    assert.equal("ec2 DescribeInstances: AWS rejects the credentials from here: AuthFailure: "
      .. "AWS was not able to validate the provided access credentials; is the secret right, and "
      .. "is eu-west-1 enabled for the account?", err.message)
  end)

  it("blames the clock when it is wrong, and only then", function()
    for code, ahead in pairs({
      RequestExpired = 3600, AuthFailure = -4000, SignatureDoesNotMatch = 301,
    }) do
      local err = of(400, code, "whatever", NOW + ahead)
      assert.equal("final", err.class)
      assert.matches(("the clock of this machine is %d s %s"):format(math.abs(ahead),
        ahead > 0 and "ahead" or "behind"), err.message)
    end
    assert.equal("stale", of(400, "RequestExpired", "x", NOW + 200).class)
    assert.equal("stale", of(400, "RequestExpired", "x", NOW, "junk").class)
    assert.equal("denied", of(403, "UnauthorizedOperation", "x", NOW + 5000).class)
  end)

  it("never repeats secrets, line breaks, or a lot", function()
    local err = of(403, "SignatureDoesNotMatch", "The Canonical String should have been\n'POST\n"
      .. "x-amz-security-token:t0k3n")
    assert.matches("The Canonical String should have been$", err.message)
    for _, message in ipairs({ "a t0k3n b", "a s3cr3t b t0k3n", ("x"):rep(5000) .. "s3cr3t" }) do
      local text = of(400, "InvalidParameterValue", message).message
      assert.not_matches("t0k3n", text)
      assert.not_matches("s3cr3t", text)
      assert.is_true(#text < 500)
    end
    assert.not_matches("[%c]", of(400, "X", "a\tb\27[0m").message)
  end)

  it("has something to say of answers that are no XML", function()
    local err = of(503, nil, "<html>gone</html>")
    assert.equal("transient", err.class)
    assert.equal("ec2 DescribeInstances: https://ec2.eu-west-1.amazonaws.com/ answered 503",
      err.message)
    assert.equal("final", of(404, nil, "").class)
  end)

  it("has advice for silence", function()
    local function silent(kind)
      return service_error.of_failure(CALL, { kind = kind, message = "https://x: nothing" })
    end
    assert.matches("^ec2 DescribeInstances: https://x: nothing; from a private subnet "
      .. "reaching AWS takes a NAT gateway or an interface VPC endpoint for ec2$",
      silent("timeout").message)
    assert.matches("is eu%-west%-1 a region%?$", silent("dns").message)
    assert.equal("ec2 DescribeInstances: https://x: nothing", silent("tls").message)
    assert.equal("lost", silent("connect").class)
    assert.equal("final", silent("tls").class)
  end)
end)
