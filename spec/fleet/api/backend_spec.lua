-- SPDX-License-Identifier: MIT
-- Which errors that keep a call from beginning are raised.

local backend = require("fleet.api.backend")
local errors = require("fleet.errors")

describe("cannot_begin", function()
  it("raises what kept everything from beginning, unless the caller wants to see it", function()
    local err = errors.format("connect", "no node")
    local ok, raised = pcall(backend.cannot_begin, err, {})
    assert.same({ false, err }, { ok, raised })
    assert.is_true(errors.is_unstartable(raised))
    assert.same({ n = 2, nil, err },
      table.pack(backend.cannot_begin(err, { on_no_workers = "return" })))
  end)

  it("returns what may be different the next time", function()
    local err = errors.format("timeout", "late")
    assert.same({ n = 2, nil, err }, table.pack(backend.cannot_begin(err, {})))
    assert.is_false(backend.in_task)
  end)
end)
