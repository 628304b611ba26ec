-- SPDX-License-Identifier: MIT
local codec = require("host.codec")
local script_blobs = require("fleet.driver.script_blobs")
local sha256 = require("fleet.digest").sha256

describe("driver.script_blobs", function()
  it("has the definition last, by its digest", function()
    local blobs = script_blobs.of("return { map = print }", "a/b.lua", 7)
    assert.equal(1, #blobs)
    assert.equal(sha256(blobs[1].bytes), blobs[1].key)
    assert.same({
      kind = "script", source = "return { map = print }", chunkname = "@a/b.lua", modules = {},
      concurrency = 7,
    }, codec.decode(blobs[1].bytes))
    assert.equal(64, codec.decode(script_blobs.of("", "b")[1].bytes).concurrency)
  end)
end)
