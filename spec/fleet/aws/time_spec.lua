-- SPDX-License-Identifier: MIT

local time = require("fleet.aws.time")

describe("time", function()
  it("reads dates as AWS writes them", function()
    assert.equal(0, time.iso("1970-01-01T00:00:00Z"))
    assert.equal(1709208000, time.iso("2024-02-29T12:00:00Z"))
    assert.equal(1709208000, time.iso("2024-02-29T12:00:00.123Z"))
    assert.equal(1709208000, time.iso("2024-02-29T13:00:00+01:00"))
    assert.equal(1709208000, time.iso("2024-02-29T07:30:00-0430"))
    assert.equal(1709208000, time.http("Thu, 29 Feb 2024 12:00:00 GMT"))
    assert.equal(784111777, time.http("Sun, 06 Nov 1994 08:49:37 GMT"))
  end)

  it("reads what the system writes", function()
    for i = 0, 2000 do -- to 2033: the system's own time may end in 2038
      local at = i * 1000003 + i * i
      assert.equal(time.write(at), os.date("!%Y-%m-%dT%H:%M:%SZ", at))
      assert.equal(at, time.iso(os.date("!%Y-%m-%dT%H:%M:%SZ", at)))
      assert.equal(at, time.http(os.date("!%a, %d %b %Y %H:%M:%S GMT", at)))
    end
  end)

  it("writes what it reads, also beyond 2038", function()
    for at, text in pairs({
      [0] = "1970-01-01T00:00:00Z", [1709208000] = "2024-02-29T12:00:00Z",
      [2147483648] = "2038-01-19T03:14:08Z", [4102444799] = "2099-12-31T23:59:59Z",
      [4107542400] = "2100-03-01T00:00:00Z", [253402300799] = "9999-12-31T23:59:59Z",
      [-1] = "1969-12-31T23:59:59Z", [0.9] = "1970-01-01T00:00:00Z",
    }) do
      assert.equal(text, time.write(at))
    end
    for at = 0, 253402300799, 86400 * 37 + 12345 do
      assert.equal(at, time.iso(time.write(at)))
    end
  end)

  it("has nothing for what is no date", function()
    for _, text in ipairs({ "", "x", "2024-02-29", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z",
      "2024-01-32T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00X",
      "20240101T000000Z", "2024-01-01T00:00:00+1", ("9"):rep(1000), false, 12, {} }) do
      assert.is_nil(time.iso(text))
      assert.is_nil(time.http(text))
    end
    assert.is_nil(time.iso(nil))
    assert.is_nil(time.http("Thu, 29 Foo 2024 12:00:00 GMT"))
  end)
end)
