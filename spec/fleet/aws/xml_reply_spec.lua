-- SPDX-License-Identifier: MIT

local answer = require("fleet.aws.xml_reply")

describe("answer.refusal", function()
  it("reads both shapes", function()
    assert.same({ code = "UnauthorizedOperation", message = "You & <me>", request_id = "r-1" },
      answer.refusal('<?xml version="1.0"?>\n<Response><Errors><Error><Code>UnauthorizedOperation'
        .. "</Code><Message>You &amp; &lt;me&gt;</Message></Error></Errors>"
        .. "<RequestID>r-1</RequestID></Response>"))
    assert.same({ code = "ExpiredToken", message = "", request_id = "r-2" },
      answer.refusal('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
        .. "  <Error>\n    <Type>Sender</Type>\n    <Code>ExpiredToken</Code>\n"
        .. "    <Message></Message>\n"
        .. "  </Error>\n  <RequestId>r-2</RequestId>\n</ErrorResponse>"))
  end)

  it("has nothing for anything else", function()
    for _, text in ipairs({ "", "<html>", "<Error>", "<Error><Code>", "<Error><Code>a<b></Code>",
      "<Code>x</Code>", ("<Error>"):rep(100000) }) do
      assert.is_nil(answer.refusal(text))
    end
  end)
end)

describe("answer.credentials", function()
  it("reads what STS gives", function()
    assert.same({
      key = "ASIA1", secret = "a/b+c=&\u{e9}", token = "IQ==", expires = "2026-11-27T03:08:34Z",
    }, answer.credentials("<AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>"
      .. "<SecretAccessKey>a/b+c=&#38;&#xe9;</SecretAccessKey><SessionToken>IQ==</SessionToken>"
      .. "<Expiration>2026-11-27T03:08:34Z</Expiration></Credentials></AssumeRoleResult>"))
  end)

  it("has nothing for anything else", function()
    assert.is_nil(answer.credentials("<Error/>"))
    assert.is_nil(answer.credentials("<Credentials><AccessKeyId>"))
    assert.same({}, answer.credentials("<a><Credentials/></a>"))
  end)
end)
