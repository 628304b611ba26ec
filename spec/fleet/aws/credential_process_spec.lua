-- SPDX-License-Identifier: MIT

local credential_process = require("fleet.aws.credential_process")
local sys = require("host.sys")

describe("credential_process.run", function()
  local function fails(pattern, words, seconds)
    local output, err = credential_process.run(words, seconds or 20)
    assert.is_nil(output)
    assert.equal("credentials", err.kind)
    assert.matches(pattern, err.message)
  end

  it("gives what the program prints", function()
    assert.equal("a b\n", credential_process.run({ "echo", "a b" }, 20))
    assert.equal("", credential_process.run({ "true" }, 20))
  end)

  it("says how it failed", function()
    fails("cannot run 'no%-such%-program'", { "no-such-program" })
    fails("'sh' ended with exit code 3", { "sh", "-c", "echo secret; exit 3" })
    fails("'sh' was ended by signal 15", { "sh", "-c", "kill $$" })
    fails("printed more than 65536 bytes", { "yes" })
  end)

  it("takes no longer than it may, also when it has closed its output", function()
    local start = sys.now()
    fails("'sleep' took longer than 0.1 s", { "sleep", "100" }, 0.1)
    fails("'sh' took longer than 0.1 s", { "sh", "-c", "exec >&-; sleep 100" }, 0.1)
    assert.is_true(sys.now() - start < 20)
  end)
end)

describe("credential_process.credentials", function()
  local function credentials(output)
    return credential_process.credentials({
      run = function(words, seconds)
        assert.same({ "helper", "--for", "x y" }, words)
        assert.equal(60, seconds)
        return output
      end,
    }, "helper --for 'x y'", "profile p")
  end

  it("reads version 1", function()
    local c = assert(credentials([[{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S",
      "SessionToken": "T", "Expiration": "2026-11-27T03:08:34Z"}]]))
    assert.same({ "A", "S", "T", 1795748914, "profile p, credential_process" },
      { c.key, c.secret, c.token, c.expires, c.source })
    c = assert(credentials('{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}'))
    assert.is_nil(c.expires)
  end)

  it("refuses the rest, and shows none of it", function()
    for output, pattern in pairs({
      [""] = "did not print a JSON object", ["hidden"] = "did not print a JSON object",
      ["[1"] = "did not print a JSON object", ['"hidden"'] = "did not print a JSON object",
      ['{"AccessKeyId": "hidden"}'] = "did not print Version 1",
      ['{"Version": 2}'] = "did not print Version 1",
      ['{"Version": 1}'] = "no valid access key id",
      ['{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hidden x"}'] =
        "no valid secret access key",
      ['{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hidden", "Expiration": "soon"}'] =
        "credential_process has no valid Expiration",
    }) do
      local c, err = credentials(output)
      assert.is_nil(c)
      assert.equal("credentials", err.kind)
      assert.matches("profile p", err.message)
      assert.matches(pattern, err.message)
      assert.not_matches("hidden", err.message)
    end
  end)
end)
