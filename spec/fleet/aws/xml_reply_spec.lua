-- SPDX-License-Identifier: MIT

local read = require("fleet.aws.xml_reply").read

local ERROR = {
  code = "Error/Code", message = "Error/Message", id = "RequestID", other_id = "RequestId",
}

describe("xml_reply.read", function()
  it("reads both shapes of errors", function()
    assert.same({ code = "UnauthorizedOperation", message = "You & <me>", id = "r-1" },
      read('<?xml version="1.0"?>\n<Response><Errors><Error><Code>UnauthorizedOperation'
        .. "</Code><Message>You &amp; &lt;me&gt;</Message></Error></Errors>"
        .. "<RequestID>r-1</RequestID></Response>", ERROR))
    assert.same({ code = "ExpiredToken", other_id = "r-2" },
      read('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
        .. "  <Error>\n    <Type>Sender</Type>\n    <Code>ExpiredToken</Code>\n"
        .. "    <Message></Message>\n"
        .. "  </Error>\n  <RequestId>r-2</RequestId>\n</ErrorResponse>", ERROR))
  end)

  it("reads characters as XML has them", function()
    assert.same({ secret = "a/b+c=&\u{e9}" }, read("<a><Credentials><SecretAccessKey>"
      .. "a/b+c=&#38;&#xe9;</SecretAccessKey></Credentials></a>",
      { secret = "Credentials/SecretAccessKey", token = "Credentials/SessionToken" }))
  end)

  it("has nothing for anything else", function()
    for _, text in ipairs({ "", "<html>", "<Error>", "<Error><Code>", "<Error><Code>a<b></Code>",
      "<Code>x</Code>", "<Error/>", ("<Error>"):rep(100000) }) do
      assert.same({}, read(text, ERROR))
    end
  end)
end)
