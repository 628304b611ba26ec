-- SPDX-License-Identifier: MIT
-- Returns the error of a call on a node that is not ready.

local errors = require("fleet.errors")

local KINDS = { draining = "draining", skew = "skew" }

---@param n fleet.NodeInfo
---@return fleet.Error
return function(n)
  return errors.new({
    kind = KINDS[n.state] or "connect", node = n.name, applied = "no",
    message = n.error or ("node %s is %s"):format(n.name, n.state),
  })
end
