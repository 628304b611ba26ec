-- SPDX-License-Identifier: MIT
-- What a node's keeper does (host/keeper.h): on an EC2 instance, reads the notices of its end.

local keeper = {}

--- Runs until the node ends.
function keeper.run()
  local node = require("host.node")
  local aws = require("fleet.aws").new()
  require("fleet.aws.notices").watch({
    imds = aws.imds, drain = node.drain, draining = node.draining,
  })
end

return keeper
